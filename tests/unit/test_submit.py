"""A spec meets its fleet: names, labels and limits of nodes.json; queues; what makes two submissions the same."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest

from infra_tasks.errors import BadInput, BadSpec
from infra_tasks.ledger.records import Run
from infra_tasks.ledger.submission import BULK, BULK_BYTES, Submission, parts, script_args, shown
from infra_tasks.model.fleet import Fleet, parse_fleet
from infra_tasks.model.spec import RunSpec
from infra_tasks.routing import ANY, pool_queue, queue_of, serves
from infra_tasks.submit import again, submission, submissions


def fleet(**limits: float) -> Fleet:
    return parse_fleet(
        json.dumps(
            {
                "fleet": "f",
                "limits": limits,
                "nodes": {
                    "mac-1": {"ssh": "local", "root": "~/.infra", "labels": ["gpu", "big"]},
                    "mac-2": {"ssh": "me@mac-2", "root": "~/.infra", "labels": ["fast"]},
                },
                "projects": {"hello": {"source": "~/hello", "node": "mac-1"}},
            }
        )
    )


def made(fleet: Fleet, **said: Any) -> Submission:
    return submission({"command": ["true"], **said}, fleet)


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ({"node": "mac-3"}, "did you mean 'mac-"),
        ({"project": "helo"}, "did you mean 'hello'?"),
        ({"timeout_s": 200}, "ceiling of 100"),
        ({"retries": 21}, "ceiling of 20"),
        ({"labels": ["gpu", "fast"]}, "no node has all of fast, gpu"),
        ({"labels": ["gpus"]}, "did you mean 'gpu'?"),
        ({"labels": ["gpu"], "node": "mac-2"}, "node 'mac-2' has not all of gpu"),
    ],
)
def test_what_the_fleet_does_not_have_is_refused(said: dict[str, Any], told: str) -> None:
    with pytest.raises(BadSpec) as caught:
        made(fleet(timeout_s=100), **said)
    assert told in str(caught.value)


def test_all_that_does_not_fit_the_fleet_is_told_at_once() -> None:
    with pytest.raises(BadSpec) as caught:
        made(fleet(timeout_s=100), node="mac-3", project="helo", timeout_s=200)
    assert [each.path for each in caught.value.problems] == [("node",), ("project",), ("timeout_s",)]
    assert str(caught.value).count("\n") == 2


def test_a_spec_that_is_too_large_is_refused_before_anything_is_handed_over() -> None:
    with pytest.raises(BadSpec, match="at most"):
        made(fleet(), env={f"A{n}": "x" * 100_000 for n in range(11)})


def test_of_many_specs_all_that_are_wrong_are_told_before_any_is_handed_over() -> None:
    big = {"command": "x", "env": {f"A{n}": "x" * 100_000 for n in range(11)}}
    with pytest.raises(BadSpec) as caught:
        submissions([{"command": "x"}, {"comand": "x"}, big, {"command": "x", "node": "mac-9"}], fleet())
    said = str(caught.value)
    assert "spec 1" not in said
    assert "spec 2: this spec cannot be run:\ncommand: missing" in said
    assert "spec 3: this spec is" in said
    assert "spec 4: node: 'mac-9' is not in nodes.json" in said
    with pytest.raises(BadSpec, match="and 80 more are wrong"):
        submissions([{}] * 100, fleet())
    assert len({one.id for one in submissions([{"command": "x"}] * 3, fleet())}) == 3


def test_what_a_spec_leaves_out_the_fleet_says() -> None:
    one = made(fleet(timeout_s=100, grace_s=3, lost_after_s=90, stop_after_s=30))
    assert (one.spec.timeout_s, one.spec.grace_s, one.spec.lost_after_s, one.spec.stop_after_s) == (100, 3, 90, 30)
    assert RunSpec.recorded(one.spec.to_json()) == one.spec


def test_what_the_fleet_fills_in_fits_together_or_is_refused() -> None:
    with pytest.raises(BadSpec, match="lost_after_s 40"):
        made(fleet(lost_after_s=40, stop_after_s=10), grace_s=30)
    assert made(fleet(lost_after_s=60, stop_after_s=10), lost_after_s=50).spec.stop_after_s == 10


def test_the_same_spec_stays_the_same_when_the_fleet_changes_its_limits() -> None:
    prints = {script_args(made(fleet(timeout_s=limit), idempotency_key="k"))["print"] for limit in (100, 200, 7200)}
    assert len(prints) == 1
    assert script_args(made(fleet(), idempotency_key="k", timeout_s=5))["print"] not in prints


@pytest.mark.parametrize("run_id", ["", "a b", "../x", "a/b", "a@1", "a..b", "-x", "x" * 129, "ü", 5])
def test_an_id_that_cannot_be_a_folder_is_refused(run_id: Any) -> None:
    with pytest.raises(BadInput, match="cannot be a run id"):
        submission({"command": "x"}, fleet(), run_id)


@pytest.mark.parametrize("value", [math.nan, math.inf, 1e12])
@pytest.mark.parametrize("name", ["delay_s", "expires_s"])
def test_a_moment_that_never_comes_is_refused(name: str, value: float) -> None:
    with pytest.raises(BadInput, match=name):
        submission({"command": "x"}, fleet(), **{name: value})


def test_what_flower_prints_holds_no_command_and_no_environment() -> None:
    spec = RunSpec(command=["secret"], env={"A": "secret"}, name="n", node="a", project="p")
    assert shown(spec) == "n project=p node=a"
    assert shown(RunSpec(command=["secret"])) == "-"


def test_a_bulk_is_cut_into_parts_by_number_and_by_size() -> None:
    small = [Submission(f"r{n}", RunSpec(command="x")) for n in range(BULK * 2 + 1)]
    assert [len(args) for _, args in parts(small)] == [BULK, BULK, 1]
    large = [Submission(f"r{n}", RunSpec(command=["x" * 100_000] * 9)) for n in range(11)]
    cut = list(parts(large))
    assert [one.id for part, _ in cut for one in part] == [one.id for one in large]
    assert all(sum(len(arg["spec"]) for arg in args) <= BULK_BYTES for _, args in cut)
    assert list(parts([])) == []


def test_a_run_waits_where_a_node_that_may_take_it_looks() -> None:
    assert queue_of("mac-1", ["gpu"]) == "node.mac-1"
    assert queue_of(None, ["gpu", "big"]) == pool_queue(["big", "gpu"]) == "pool.big+gpu"
    assert serves("pool.big+gpu", "x", ["gpu", "big", "y"])
    assert not serves("pool.big+gpu", "x", ["gpu"])
    assert serves(pool_queue([]), "x", [])
    assert serves("node.x", "x", [])
    assert not serves("node.y", "x", [])
    assert not serves("dispatch.x", "x", [])


def test_a_label_called_any_is_a_label() -> None:
    assert not serves(pool_queue(["any"]), "x", [])
    with pytest.raises(BadSpec):
        RunSpec.of({"command": "x", "labels": [ANY]})


def test_what_only_one_node_can_take_is_pinned_there_and_needs_no_lease():
    one = {"mac-1": {"ssh": "local", "root": "/r"}}
    two = {**one, "mac-2": {"ssh": "a@b", "root": "/r", "labels": ["gpu"]}}
    alone, both = (parse_fleet(json.dumps({"fleet": "f", "nodes": nodes})) for nodes in (one, two))
    assert submission({"command": ["true"]}, alone).spec.node == "mac-1"
    assert submission({"command": ["true"], "labels": ["gpu"]}, both).spec.node == "mac-2"
    assert submission({"command": ["true"]}, both).spec.node is None
    keyed = {"command": ["true"], "idempotency_key": "k"}
    assert script_args(submission(keyed, alone))["print"] == script_args(submission(keyed, both))["print"]


def test_what_only_the_fleet_pinned_is_known_and_is_free_again_when_it_is_retried() -> None:
    one = made(fleet(), labels=["gpu"])
    assert (one.spec.node, script_args(one)["pool"]) == ("mac-1", "pool.gpu")
    assert "pool" not in script_args(made(fleet(), labels=["gpu"], node="mac-1"))
    assert "pool" not in script_args(made(fleet()))
    record = Run("r1", {"state": "FAILURE", "spec": one.spec.to_json(), "pool": "pool.gpu"})
    grown = parse_fleet(
        json.dumps(
            {
                "fleet": "f",
                "nodes": {
                    "mac-1": {"ssh": "local", "root": "~/.infra", "labels": ["gpu"]},
                    "mac-2": {"ssh": "me@mac-2", "root": "~/.infra", "labels": ["gpu"]},
                },
            }
        )
    )
    assert again(record, grown).spec.node is None
    assert again(Run("r1", {**record.fields, "pool": ""}), grown).spec.node == "mac-1"
