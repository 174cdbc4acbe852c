"""The same spec, handed in by two versions, is the same run: record and fingerprint are those of every golden set."""

from __future__ import annotations

import json

import pytest
from golden_node import SETS, SUBMITS, submitted, versions

from infra_tasks.errors import BadInput, BadSpec
from infra_tasks.ledger.records import Run
from infra_tasks.model.fleet import parse_fleet
from infra_tasks.model.recorded import not_known
from infra_tasks.model.spec import RunSpec
from infra_tasks.submit import again

SAID = {
    (version, name): one
    for version in versions()
    for name, one in json.loads((SETS / version / "submits.json").read_text()).items()
}


def test_there_is_a_set_with_every_kind_of_submit():
    assert {name for version, name in SAID if version == versions()[-1]} == set(SUBMITS)


@pytest.mark.parametrize(("version", "name"), SAID)
def test_a_spec_is_handed_in_as_before(version: str, name: str):
    one = SAID[version, name]
    now = submitted(name, one["given"], one["options"])
    assert {key: now.get(key) for key in one["handed_in"]} == one["handed_in"]


@pytest.mark.parametrize(("version", "name"), SAID)
def test_a_recorded_spec_is_read_and_written_as_it_was(version: str, name: str):
    text = SAID[version, name]["handed_in"]["spec"]
    assert RunSpec.recorded(text).to_json() == text


NEWER = '{"command":["true"],"env":{"A":{"secret":"b","vault":"c"}},"gpus":2,"retries":101,"name":"n","timeout_s":99}'


def test_of_a_newer_spec_what_is_known_is_told_and_the_rest_is_named():
    spec = RunSpec.recorded(NEWER)
    assert (spec.command, spec.name, spec.timeout_s, spec.env, spec.retries) == (["true"], "n", 99, {}, 0)
    assert {one.split(".")[0] for one in not_known(NEWER)} == {"env", "gpus", "retries"}
    assert not_known(spec.to_json()) == []


def test_a_newer_spec_of_which_too_little_is_known_is_refused_in_words():
    with pytest.raises(BadSpec, match="recorded by another version"):
        RunSpec.recorded('{"command":{"image":"x"}}')


def test_a_newer_spec_is_not_run_again_without_what_is_not_known_here():
    fields = {"state": "SUCCESS", "spec": NEWER, "result": "{}", "timeout_s": "99"}
    with pytest.raises(BadInput, match="gpus"):
        again(Run("r", fields), parse_fleet('{"fleet":"f","nodes":{"n":{"ssh":"local","root":"/r"}}}', "nodes.json"))
