"""Flower's memory beside a real ledger: what it never heard of, what it heard wrong, and a ledger that is away."""

from __future__ import annotations

import asyncio
import time
from types import SimpleNamespace

import pytest
from flower.events import EventsState
from ledger_kit import WORKED, Kit

from infra_tasks.ledger import Ledger
from infra_tasks.model.hint import RUN_TASK
from infra_tasks.web.catching_up import CatchingUp


class Glass:
    """A memory, and what a turn makes of it."""

    def __init__(self, ledger, most=100):
        self.memory = EventsState(max_tasks_in_memory=most)
        self.behind = CatchingUp(lambda: self.memory, ledger)
        self.clock = 0

    def hears(self, what, run_id, **more):
        self.clock += 1
        event = {"type": what, "uuid": run_id, "hostname": "worker@a", "clock": self.clock, "pid": 1, "utcoffset": 0}
        self.memory.event({**event, "timestamp": time.time(), "local_received": time.time(), "name": RUN_TASK, **more})

    def turns(self):
        before = self.behind.corrected
        asyncio.run(self.behind.turn(time.time()))
        return self.behind.corrected - before

    def shows(self):
        return {run_id: task.state for run_id, task in self.memory.tasks.data.items()}

    def finds(self, text):
        return set(self.memory.search_engine.search(self.memory.tasks, text).task_ids)


@pytest.fixture
def kit(redis_process):
    one = Kit(redis_process.url)
    yield one
    one.close()


@pytest.fixture
def ledger(kit):
    return SimpleNamespace(runs=kit.runs)


def test_runs_nobody_told_of_are_there_with_who_they_are(kit, ledger):
    glass = Glass(ledger)
    waits, runs = kit.submit(name="nightly report"), kit.submit()
    kit.claimed(runs)
    assert glass.turns() == 2
    assert glass.shows() == {waits: "RECEIVED", runs: "STARTED"}
    assert glass.memory.tasks[waits].args == "nightly report node=a"
    assert glass.finds("state:STARTED") == {runs}
    assert glass.turns() == 0, "what it knows by now is not told twice"


def test_a_cancelled_run_whose_hint_failed_is_revoked_and_stays_so(kit, ledger):
    glass, run_id = Glass(ledger), kit.submit()
    glass.hears("task-received", run_id, args="node=a", kwargs="{}")
    glass.hears("task-started", run_id)
    kit.runs.cancel(run_id)
    glass.hears("task-failed", run_id, exception="RunRevoked()", traceback="")
    assert glass.shows() == {run_id: "FAILURE"}
    assert glass.turns() == 1
    assert glass.shows() == {run_id: "REVOKED"}
    assert (glass.finds("state:REVOKED"), glass.finds("state:FAILURE")) == ({run_id}, set())
    glass.hears("task-failed", run_id, exception="RunRevoked()", traceback="")  # its hint, for what follows it
    assert glass.turns() == 1
    assert glass.shows() == {run_id: "REVOKED"}


def test_what_is_heard_while_the_ledger_answers_is_not_undone(kit, ledger):
    glass, run_id = Glass(ledger), kit.submit()
    glass.hears("task-received", run_id, args="node=a", kwargs="{}")
    glass.hears("task-failed", run_id, exception="WorkerLostError()", traceback="")
    ask = glass.behind._ask

    def slowly(*asked):
        answer = ask(*asked)
        glass.hears("task-failed", run_id, exception="WorkerLostError()", traceback="")
        return answer

    glass.behind._ask = slowly
    assert glass.turns() == 0
    glass.behind._ask = ask
    assert glass.turns() == 1
    assert glass.shows() == {run_id: "RECEIVED"}


def test_the_oldest_go_when_the_memory_is_full(kit, ledger):
    glass = Glass(ledger, most=3)
    first, *_ = [kit.submit() for _ in range(3)]
    glass.turns()
    last = kit.submit()
    kit.finish((last, 1, "c1"), WORKED, kit.claimed(last))
    glass.turns()
    assert len(glass.shows()) == 3
    assert last in glass.shows()
    assert first not in glass.shows()
    assert glass.finds("state:SUCCESS") == {last}


def test_a_ledger_that_is_away_changes_nothing():
    glass = Glass(Ledger.at("redis://127.0.0.1:1/0"))
    glass.hears("task-started", "r")
    assert glass.turns() == 0
    assert glass.shows() == {"r": "STARTED"}
