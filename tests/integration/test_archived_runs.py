"""What a user asks of a run that has left the history is answered from the archive of the node, truly."""

from __future__ import annotations

import json
import shutil

import pytest
from run_fleet import started

from infra_tasks.history.archive import Archive
from infra_tasks.history.export import Export
from infra_tasks.model.run import Reason, State
from infra_tasks.node import this_node


def limited(fleet, **limits):
    raw = json.loads(fleet.home.nodes_json.read_text())
    fleet.home.nodes_json.write_text(json.dumps({**raw, "limits": limits}))


def exported(fleet, **limits):
    """Have every run that ended leave the history."""
    limited(fleet, history_days=1e-9, **limits)
    assert Export(fleet.ledger).batch(this_node(fleet.home))


def failed(fleet, *command, **spec):
    run = fleet.accepts(*(command or ("false",)), **spec)
    taken = fleet.takes(run)
    taken.writes(b"out\n")
    taken.writes(b"err\n", "stderr")
    taken.ends(State.FAILURE, Reason.EXIT_CODE, cause="exit code 3", exit_code=3)
    return run


def good(fleet, **spec):
    run = fleet.accepts("echo", "x", **spec)
    fleet.takes(run).ends()
    return run


def test_wait_tells_its_end_and_ends_with_its_code(fleet):
    bad, well = failed(fleet), good(fleet)
    exported(fleet)
    said = fleet.infra("wait", well)
    assert (said.code, "SUCCESS" in said.out) == (0, True)
    assert "left the history before" in said.err
    said = fleet.infra("wait", bad[:8], well, "--json")
    assert said.code == 1
    ends = {one["id"]: one for one in map(json.loads, said.out.splitlines())}
    assert (ends[bad]["state"], ends[bad]["exit_code"], ends[well]["state"]) == ("FAILURE", 3, "SUCCESS")
    unknown = fleet.infra("wait", "zzz", well)
    assert (unknown.code, "no run begins with 'zzz'" in unknown.err, unknown.out) == (2, True, "")


def test_a_run_that_leaves_the_history_while_it_is_waited_for_is_told_of_as_it_ended(fleet):
    run, other = fleet.accepts("false"), fleet.accepts("true")
    taken = fleet.takes(run)
    with started(fleet, "wait", run, other, "--json") as process:
        taken.ends(State.FAILURE, Reason.EXIT_CODE, exit_code=3)
        exported(fleet)
        assert json.loads(process.stdout.readline())["exit_code"] == 3
        fleet.takes(other).ends()
        exported(fleet)
        assert json.loads(process.stdout.readline())["state"] == "SUCCESS"
        assert process.wait(180) == 1


def test_why_says_how_it_ended_and_where_its_record_is(fleet):
    run = failed(fleet, name="nightly")
    exported(fleet)
    (file,) = fleet.home.archive.glob("*.zst")
    said = fleet.infra("why", run)
    assert said.code == 0
    assert "(nightly) failed" in said.out
    assert f"the archive of n1 has it, {file}" in " ".join(said.out.split())
    told = fleet.json("why", run)
    assert [one["kind"] for one in told["reasons"]][-1] == "archived"
    assert (told["state"], told["reasons"][-1]["node"]) == ("FAILURE", "n1")


def test_retry_makes_a_new_run_of_the_archived_spec(fleet):
    old = failed(fleet, "sh", "-c", "exit 3", name="nightly", env={"A": "b"}, timeout_s=77, retries=2)
    exported(fleet)
    new = fleet.json("retry", old[:8])
    assert new["retry_of"] == old
    run = fleet.ledger.runs.get(new["id"])
    assert run.spec == Archive(fleet.home).beginning_with(old)[0].run.spec
    assert (run.spec.command, run.spec.env, run.spec.timeout_s) == (["sh", "-c", "exit 3"], {"A": "b"}, 77)
    assert "from the archive" in fleet.infra("retry", old).out


def test_retry_of_an_archived_spec_that_does_not_fit_any_more_is_refused_in_words(fleet):
    old = failed(fleet, retries=5)
    exported(fleet)
    limited(fleet, retries=3)
    said = fleet.infra("retry", old)
    assert (said.code, "retries: 5 is above" in said.err) == (2, True)
    assert fleet.ledger.runs.recent(1) == []


def test_a_spec_that_a_newer_version_wrote_into_the_archive_is_shown_and_not_run_in_part(fleet):
    old = failed(fleet)
    redis = fleet.ledger.scripts.client
    spec = redis.hget(f"infra:run:{old}", "spec")
    redis.hset(f"infra:run:{old}", "spec", spec[:-1] + ',"gpus":2}')
    exported(fleet)
    assert fleet.json("show", old)["command"] == ["false"]
    said = fleet.infra("retry", old)
    assert (said.code, "gpus means nothing to infra" in said.err) == (2, True)


def test_logs_prints_what_the_disk_still_has_and_else_says_since_when_it_is_gone(fleet):
    run = failed(fleet)
    waits = fleet.accepts("true")
    fleet.ledger.runs.cancel(waits)
    (fleet.home.root / "node.json").write_text(json.dumps({"name": "n1", "uuid": "u1"}))
    exported(fleet)
    said = fleet.infra("logs", run)
    assert (said.code, said.out, said.err) == (0, "out\n", "err\n")
    assert fleet.infra("logs", run, "-f", "--tail", "0").code == 0
    said = fleet.infra("logs", run, "--attempt", "2")
    assert (said.code, "has no attempt 2" in said.err) == (2, True)
    said = fleet.infra("logs", waits)
    assert (said.code, "never started" in said.err) == (2, True)
    shutil.rmtree(fleet.home.runs / run)
    said = fleet.infra("logs", run)
    assert (said.code, "not brought from n1 any more" in " ".join(said.err.split())) == (2, True)
    limited(fleet, keep_runs_days=1e-9)
    said = fleet.infra("logs", run)
    assert (said.code, "its output is gone since" in said.err) == (2, True)


@pytest.mark.parametrize("command", ["show", "why", "retry", "wait", "logs"])
def test_a_beginning_that_several_living_runs_have_never_means_an_archived_one(fleet, command):
    from infra_tasks.cli.door import open_fleet
    from infra_tasks.submit import submit

    def accepted(run_id):
        return submit(fleet.ledger, open_fleet(fleet.home), {"command": ["true"]}, run_id=run_id)

    fleet.takes(accepted("same-0")).ends()
    exported(fleet)
    for run_id in ("same-1", "same-2"):
        accepted(run_id)
    said = fleet.infra(command, "same-")
    assert (said.code, "several runs begin with 'same-'" in said.err) == (2, True)
    assert fleet.infra("show", "same-0").code == 0


def test_where_other_nodes_may_have_the_archive_it_is_said(fleet):
    raw = json.loads(fleet.home.nodes_json.read_text())
    raw["nodes"]["n2"] = {"ssh": "ann@n2", "root": "/r"}
    fleet.home.nodes_json.write_text(json.dumps(raw))
    for command in ("show", "why", "wait", "retry", "logs"):
        said = fleet.infra(command, "zzz")
        assert (said.code, "another node's archive" in " ".join(said.err.split())) == (2, True), command
