"""A run as Python code is told of it."""

from __future__ import annotations

import json

import pytest

from infra_tasks.errors import RunFailed, RunRevoked, StillGoing
from infra_tasks.ledger.records import Event, Run
from infra_tasks.model import outcome
from infra_tasks.model.run import RESULT_KEYS, Reason, State
from infra_tasks.model.run_info import ResultDict, RunInfo
from infra_tasks.model.spec import RunSpec

SPEC = RunSpec(command=["train"], node="n1", labels=frozenset({"gpu", "big"}), name="nightly")


def record(state, **fields):
    return Run("r1", {"state": state, "spec": SPEC.to_json(), "timeout_s": "60.0", "queue": "node.n1", "node": "n1",
                      "name": "nightly", "submitted_at": "4.0", **fields})  # fmt: skip


def ended(state, reason=None, **said):
    result = outcome.result_of({"id": "r1", "node": "n1", "attempt": 2}, state, reason, said, ("out\n", "bad\n"))
    return RunInfo.of(record(state, result=json.dumps(result), cause="exit code 3", attempt="2"))


def test_a_waiting_run_has_what_is_known_and_none_elsewhere():
    info = RunInfo.of(record("QUEUED"))
    assert (info.id, info.state, info.node, info.attempt, info.submitted_at) == ("r1", "QUEUED", "n1", 0, 4.0)
    assert (info.started_at, info.exit_code, info.outputs, info.result) == (None, None, None, None)
    assert (info.stdout_tail, info.survivors, info.labels, info.spec) == ("", 0, ("big", "gpu"), SPEC)
    assert (info.final, info.succeeded) == (False, False)
    with pytest.raises(StillGoing, match="run r1 is QUEUED"):
        info.check()


def test_a_run_on_a_silent_node_is_unreachable_and_not_final():
    started = Event(7.0, "QUEUED", "STARTED", "n1", "", None)
    info = RunInfo.of(record("STARTED", claim_node="n1", attempt="1"), {"n1": 9.0}, [started])
    assert (info.state, info.final, info.started_at, info.unreachable_since) == ("UNREACHABLE", False, 7.0, 9.0)


def test_a_success_checks_itself_and_gives_the_documented_result():
    info = ended(State.SUCCESS, exit_code=0, duration_s=1.5)
    assert info.check() is info
    assert list(info.result) == list(RESULT_KEYS) == list(ResultDict.__annotations__)
    assert (info.result["exit_code"], info.result["duration_s"], info.duration_s) == (0, 1.5, 1.5)


def test_a_failure_raises_what_get_would_have_raised():
    info = ended(State.FAILURE, Reason.EXIT_CODE, exit_code=3)
    with pytest.raises(RunFailed, match=r"run r1 \(nightly\) failed on n1: exit code 3\n  \| bad") as raised:
        info.check()
    assert raised.value.result == info.result
    with pytest.raises(RunRevoked):
        ended(State.REVOKED).check()


def test_as_a_dict_it_is_json_with_every_field():
    said = ended(State.SUCCESS, exit_code=0).as_dict()
    assert json.loads(json.dumps(said)) == said
    assert set(RunInfo.__dataclass_fields__) == set(said)
    assert type(said["state"]) is str
    assert said["spec"]["command"] == ["train"]
