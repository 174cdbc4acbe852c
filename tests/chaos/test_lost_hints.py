"""Hints get lost - with a stopped worker, with the broker's lists: what was accepted runs all the same, once (G1)."""

from __future__ import annotations

import os
import signal
from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
from waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Callable

    from effects import Caller, Effects
    from whole_node import WholeNode

    from infra_tasks.ledger import Ledger

pytestmark = pytest.mark.chaos

WAITING = 100


@pytest.mark.parametrize("where", [{"node": "n1"}, {}], ids=["pinned", "pool"])
def test_a_run_whose_hint_died_with_a_stopped_worker_runs(
    where: dict[str, str], node: WholeNode, effects: Effects, call: Callable[..., Caller]
):
    worker = eventually(lambda: node.role_pid("worker"), 30, "the worker lives")
    caller = call()
    os.kill(worker, signal.SIGSTOP)  # it waits for a hint: Redis hands it one within the next second
    caller.submit({"command": effects.command(), **where})
    eventually(caller.accepted, 30, "it is accepted")
    with suppress(ProcessLookupError):  # its watcher may have had enough of it
        os.kill(worker, signal.SIGKILL)
    assert [(one["state"], one["attempt"]) for one in caller.results()] == [("SUCCESS", 1)]
    assert [one.run for one in effects.stamps("start")] == caller.accepted()


def test_all_runs_that_wait_run_once_though_the_lists_of_the_broker_were_deleted(
    node: WholeNode, book: Ledger, effects: Effects, call: Callable[..., Caller]
):
    may_end = effects.file.with_name("may-end")
    blockers = [{"command": effects.command(habits=(f"until:{may_end}",))} for _ in range(2)]
    short = ["/bin/sh", "-c", f'echo "start $INFRA_RUN $INFRA_ATTEMPT 0 $$" >> {effects.file}']
    waiting = [{"command": short, **({"node": "n1"} if number % 2 else {})} for number in range(WAITING)]
    caller = call(*blockers, *waiting)
    eventually(lambda: len(caller.accepted()) == 2 + WAITING, 60, "all are accepted")
    redis = book.scripts.client
    lists = [name for name in redis.scan_iter("*") if name.startswith(("node.n1", "pool."))]
    waits, lost = sum(book.runs.waiting().values()), sum(redis.llen(name) for name in lists)
    redis.delete(*lists)
    may_end.touch()
    assert waits > WAITING / 2, "the runs had not waited yet when the lists were deleted"
    assert lost, "no hint was there to be lost"
    results = caller.results()
    assert [one["state"] for one in results] == ["SUCCESS"] * (2 + WAITING)
    assert Counter(one.run for one in effects.stamps("start")) == Counter(caller.accepted())
