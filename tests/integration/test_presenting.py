"""What a node says in safe mode: quickly, though a week of ended runs is on its disk, and all that is news."""

from __future__ import annotations

import os
import time
from types import SimpleNamespace
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest
from ledger_kit import WORKED, Kit

from infra_tasks.model.fleet import Limits
from infra_tasks.runner.attempt import Attempt
from infra_tasks.runner.exitrecord import write_exit
from infra_tasks.settings import Home
from workers.presenting import Presentation

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


KNOWN = 900


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


def keep_end(home: Home, run: str, fields: Mapping[str, str], claim: str = "c1") -> None:
    """Leave the folder of an attempt that has ended and was reported."""
    attempt = Attempt(home.attempt(run, 1))
    attempt.folder.mkdir(parents=True)
    attempt.write_record({"run": run, "attempt": 1, "claim": claim, "node": "a", "fields": dict(fields)})
    write_exit(attempt.path, {**WORKED, "run": run, "attempt": 1, "claim": claim, "error": None})


def presented(kit: Kit, home: Home) -> int:
    """Present to the end; return how many turns it took."""
    kit.renew("a")
    me = SimpleNamespace(home=home, name="a", uuid="uuid-a", fleet=SimpleNamespace(limits=Limits(history_days=3)))
    presentation, turns = Presentation(kit, me), 1
    while not presentation.run_once():
        turns += 1
    return turns


def test_kept_ends_that_the_ledger_knows_cost_one_question_and_no_file(kit: Kit, home: Home):
    for _ in range(KNOWN):
        run = uuid4().hex
        kit.redis.hset(kit.key("run", run), mapping={"state": "SUCCESS", "attempt": 1})
        home.attempt(run, 1).mkdir(parents=True)
    turns = presented(kit, home)
    assert turns == 3, "what lives, what has ended, the last word"


def test_a_kept_end_that_the_ledger_forgot_is_presented_among_many_that_it_knows(kit: Kit, home: Home):
    forgotten, open_here = kit.submit(), kit.submit()
    for run in (forgotten, open_here):
        keep_end(home, run, kit.claimed(run))
    for _ in range(KNOWN):
        run = uuid4().hex
        kit.redis.hset(kit.key("run", run), mapping={"state": "SUCCESS", "attempt": 1})
        home.attempt(run, 1).mkdir(parents=True)
    kit.redis.delete(kit.key("run", forgotten))
    presented(kit, home)
    assert kit.state(forgotten) == "STARTED", "restored from its record, to be finished"
    assert {one.name for one in home.live.iterdir()} == {f"{forgotten}@1", f"{open_here}@1"}


def test_an_end_is_presented_although_a_worker_asks_for_the_next_attempt_at_that_moment(kit: Kit, home: Home):
    """A hint in safe mode is asked about again and again, and each time a folder is made and taken away."""
    run = kit.submit()
    keep_end(home, run, kit.claimed(run))
    kit.redis.hset(kit.key("run", run), mapping={"state": "QUEUED", "attempt": 0, "claim": ""})
    kit.redis.hset(kit.key("counts"), mapping={"QUEUED": 1, "STARTED": 0})
    kit.redis.srem(kit.key("node", "a", "live"), run)
    kit.another_server()
    asking = Attempt(home.attempt(run, 2))
    lock = asking.take_lock()
    assert lock is not None
    try:
        presented(kit, home)
    finally:
        os.close(lock)
    assert (kit.state(run), kit.field(run, "attempt")) == ("STARTED", "1"), "taken in, to be finished"


@pytest.mark.parametrize(("days", "state"), [(2.9, "STARTED"), (3.1, None)])
def test_an_end_that_has_left_the_history_is_not_begun_anew(kit: Kit, home: Home, days: float, state: str | None):
    """Folders may be kept longer than the history is."""
    run = kit.submit()
    keep_end(home, run, kit.claimed(run))
    attempt = Attempt(home.attempt(run, 1))
    attempt.note_report()
    reported_at = time.time() - days * 86400
    os.utime(attempt.folder / "reported", (reported_at, reported_at))
    kit.redis.delete(kit.key("run", run))
    presented(kit, home)
    found = kit.runs.get(run)
    assert (found and found.state) == state
