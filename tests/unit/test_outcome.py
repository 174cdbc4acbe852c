"""What an attempt came to, and what a caller is told of it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from celery import Celery

from infra_tasks.errors import RunFailed, RunRevoked
from infra_tasks.model.outcome import ending, meta, result_of, told
from infra_tasks.model.run import RESULT_KEYS, Reason, State
from infra_tasks.model.spec import RunSpec

NEW = {"retries_used": 0, "lost": 0, "unstarted": 0}


def exit_record(outcome: str, **more: Any) -> dict[str, Any]:
    return {"outcome": outcome, "exit_code": None, "signal": None, "started_at": 1.0, "ended_at": 2.0, **more}


@pytest.mark.parametrize(
    ("record", "state", "reason"),
    [
        (exit_record("exited", exit_code=0), "SUCCESS", None),
        (exit_record("exited", exit_code=3), "FAILURE", "exit_code"),
        (exit_record("signaled", signal=11), "FAILURE", "signal"),
        (exit_record("timeout"), "FAILURE", "timeout"),
        (exit_record("memory"), "FAILURE", "memory"),
        (exit_record("sync_failed", error="rsync"), "FAILURE", "sync_failed"),
        (exit_record("start_failed", error="no such file"), "FAILURE", "start_failed"),
        (exit_record("cancelled"), "REVOKED", None),
    ],
)
def test_each_outcome_has_its_state_and_reason(record: dict[str, Any], state: str, reason: str | None) -> None:
    end = ending(record, RunSpec(command="x"), NEW)
    assert (end.to, end.reason, end.retry_in_s, end.lost) == (state, reason, None, None)


@pytest.mark.parametrize("ended", [{"signal": 9}, {"exit_code": 137}])
def test_a_kill_beside_the_kernels_out_of_memory_killer_says_perhaps(ended: dict[str, int]) -> None:
    outcome = "signaled" if "signal" in ended else "exited"
    end = ending(exit_record(outcome, **ended, kills_by_kernel=1), RunSpec(command="x"), NEW)
    assert "out-of-memory killer struck on this node: perhaps" in end.cause
    assert end.reason == ("signal" if "signal" in ended else "exit_code"), "perhaps is not sure enough for a reason"
    quiet = ending(exit_record(outcome, **ended, kills_by_kernel=0), RunSpec(command="x"), NEW)
    other = ending(exit_record("signaled", signal=11, kills_by_kernel=1), RunSpec(command="x"), NEW)
    assert "killer" not in quiet.cause + other.cause


@pytest.mark.parametrize("used", [0, 1, 2])
def test_a_failure_is_retried_while_retries_are_left(used: int) -> None:
    spec = RunSpec(command="x", retries=2, retry_backoff_s=4)
    end = ending(exit_record("exited", exit_code=1), spec, {**NEW, "retries_used": used})
    assert end.retry_in_s == {0: 4, 1: 8, 2: None}[used]


def test_only_the_reasons_that_were_asked_for_are_retried() -> None:
    spec = RunSpec.of({"command": "x", "retries": 2, "retry_on": ["timeout"]})
    assert ending(exit_record("exited", exit_code=1), spec, NEW).retry_in_s is None
    assert ending(exit_record("timeout"), spec, NEW).retry_in_s is not None


@pytest.mark.parametrize("outcome", ["lost", "fenced", "lease"])
def test_a_lost_attempt_is_run_again_without_a_retry_until_it_is_poison(outcome: str) -> None:
    spec = RunSpec(command="x")
    again = [ending(exit_record(outcome), spec, {**NEW, "lost": lost}) for lost in range(3)]
    assert [(end.lost, end.reason) for end in again] == [
        ("lost", Reason.NODE_LOST), ("lost", Reason.NODE_LOST), (None, Reason.POISONED)
    ]  # fmt: skip


def test_a_run_whose_code_a_silent_node_has_waits_for_it_without_a_retry_but_not_for_ever() -> None:
    spec, away = RunSpec(command="x"), exit_record("sync_failed", started_at=None, error="gone", holder_away=True)
    again = [ending(away, spec, {**NEW, "unstarted": unstarted}) for unstarted in range(10)]
    assert [end.lost for end in again] == ["unstarted"] * 9 + [None]
    assert {end.reason for end in again} == {Reason.SYNC_FAILED}
    assert ending(away, RunSpec.of({"command": "x", "retry_on": ["exit_code"]}), NEW).lost is None


def test_an_attempt_that_never_started_has_more_patience_and_needs_no_permission() -> None:
    spec = RunSpec.of({"command": "x", "retry_on": ["exit_code"]})
    never = exit_record("lost", started_at=None)
    assert [ending(never, spec, {**NEW, "unstarted": n}).lost for n in (0, 8)] == ["unstarted", "unstarted"]
    assert ending(never, spec, {**NEW, "unstarted": 9}).reason == Reason.POISONED


def test_who_does_not_want_lost_attempts_run_again_is_told_node_lost() -> None:
    spec = RunSpec.of({"command": "x", "retry_on": ["exit_code"]})
    end = ending(exit_record("lost"), spec, NEW)
    assert (end.to, end.reason, end.lost) == (State.FAILURE, Reason.NODE_LOST, None)


def test_a_node_that_is_stopped_poisons_nothing() -> None:
    assert ending(exit_record("down"), RunSpec(command="x"), {**NEW, "lost": 50}).lost == "stopped"


RUN = {"id": "r1", "node": "a", "attempt": 2, "release": "", "submitted_at": 0.5}


def test_a_result_has_exactly_the_keys_that_are_promised() -> None:
    result = result_of(RUN, State.SUCCESS, None, exit_record("exited", exit_code=0), ("out", "err"))
    assert tuple(result) == RESULT_KEYS
    assert (result["release"], result["survivors"], result["stdout_tail"]) == (None, 0, "out")


@pytest.mark.parametrize(
    ("state", "reason", "kind"),
    [(State.FAILURE, Reason.EXIT_CODE, RunFailed), (State.REVOKED, None, RunRevoked)],
)
def test_celery_raises_the_error_with_its_result(state: State, reason: Reason | None, kind: type[RunFailed]) -> None:
    app = Celery(backend="cache+memory://", set_as_current=False)
    result = result_of(RUN, state, reason, exit_record("exited", exit_code=3))
    said = app.backend.meta_from_decoded(json.loads(meta(result, "it failed", 2.0, {"group": "g"})))
    assert type(said["result"]) is kind
    assert (str(said["result"]), said["result"].result) == ("it failed", result)
    assert (said["status"], said["group_id"]) == (state, "g")
    app.close()


def test_a_caller_reads_run_node_reason_and_the_last_lines() -> None:
    result = result_of(RUN, State.FAILURE, Reason.SIGNAL, exit_record("signaled", signal=9), ("", "a\nb\n"))
    assert told(result, "killed by signal 9", "night") == "run r1 (night) failed on a: killed by signal 9\n  | a\n  | b"
    assert "(timeout)" in told({**result, "reason": "timeout"}, "too long")
