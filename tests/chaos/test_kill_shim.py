"""The shim is killed or stopped: its tree ends with it, and the run goes again or ends for what happened to it."""

from __future__ import annotations

import json
import os
import signal
from typing import TYPE_CHECKING

import psutil
import pytest
from waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Callable

    from effects import Caller, Effects
    from whole_node import WholeNode

pytestmark = pytest.mark.chaos

LONG_S = 60
KILLED_CHILD = "WorkerLostError: Worker exited prematurely: signal 9"
STOPPED_LIMIT_S = 8.0
"""Long enough to stop a shim before it acts on it, on a busy machine as well."""


def signal_shim(node: WholeNode, effects: Effects, attempt: int, number: signal.Signals) -> list[int]:
    """Signal the shim of a running attempt; return its processes (its command, and that one's detached child)."""
    (begun,) = eventually(
        lambda: [one for one in effects.stamps("start") if one.attempt == attempt], 40, f"attempt {attempt} runs"
    )
    (child,) = eventually(
        lambda: [one for one in effects.stamps("child") if one.attempt == attempt], 20, f"attempt {attempt} has a child"
    )
    started = json.loads((node.home / "runs" / begun.run / str(attempt) / "started.json").read_text())
    os.kill(started["shim_pid"], number)
    return [begun.pid, child.pid]


def surprises(said: str) -> list[str]:
    """Every traceback in a log, but those of children that a test before this one killed: they are told late."""
    return [one for one in said.split("Traceback")[1:] if KILLED_CHILD not in one]


def lives(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_a_killed_shim_takes_its_whole_tree_along_before_the_run_goes_again(
    node: WholeNode, effects: Effects, call: Callable[..., Caller]
):
    log = node.home / "logs" / "worker.log"
    said_before = len(log.read_text())
    caller = call({"command": effects.command(LONG_S, 0, habits=("child",))})
    tree = signal_shim(node, effects, 1, signal.SIGKILL)
    eventually(lambda: len(effects.stamps("start")) > 1, 40, "the run goes again")
    assert not [pid for pid in tree if lives(pid)]
    (result,) = caller.results()
    assert (result["state"], result["attempt"], result["exit_code"]) == ("SUCCESS", 2, 0)
    assert [one.attempt for one in effects.stamps("end")] == [2]
    assert not node.run_processes()
    assert not surprises(log.read_text()[said_before:])  # none to whoever waited for it


def test_a_run_whose_shim_is_killed_three_times_is_poisoned(
    node: WholeNode, effects: Effects, call: Callable[..., Caller]
):
    caller = call({"command": effects.command(LONG_S, habits=("child",))})
    for attempt in (1, 2, 3):
        signal_shim(node, effects, attempt, signal.SIGKILL)
    (result,) = caller.results()
    assert (result["state"], result["reason"], result["attempt"]) == ("FAILURE", "poisoned", 3)
    assert len(effects.stamps("start")) == 3
    assert not node.run_processes()


def test_a_run_that_must_not_go_again_after_a_loss_fails_when_its_shim_is_killed(
    node: WholeNode, effects: Effects, call: Callable[..., Caller]
):
    caller = call({"command": effects.command(LONG_S, habits=("child",)), "retry_on": ["exit_code"], "retries": 3})
    signal_shim(node, effects, 1, signal.SIGKILL)
    (result,) = caller.results()
    assert (result["state"], result["reason"], result["attempt"]) == ("FAILURE", "node_lost", 1)
    assert len(effects.stamps("start")) == 1
    assert not node.run_processes()


def test_a_stopped_shim_is_killed_past_its_limit_and_the_run_ends_as_timed_out(
    node: WholeNode, effects: Effects, call: Callable[..., Caller]
):
    caller = call({"command": effects.command(LONG_S, habits=("child",)), "timeout_s": STOPPED_LIMIT_S, "grace_s": 0.2})
    signal_shim(node, effects, 1, signal.SIGSTOP)
    (result,) = caller.results()
    assert (result["state"], result["reason"], result["attempt"]) == ("FAILURE", "timeout", 1)
    assert not effects.stamps("end")
    assert not node.run_processes()
