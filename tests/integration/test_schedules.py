"""Schedules on a real Redis: a slot makes one run, whoever looks after it, however often, and whenever it dies."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from threading import Barrier
from typing import TYPE_CHECKING

import pytest
from waiting import eventually

from infra_tasks.errors import BadInput, BadSpec
from infra_tasks.ledger import Ledger
from infra_tasks.ledger.runs import Submission
from infra_tasks.model.fleet import parse_fleet
from infra_tasks.model.schedule import schedule_of
from infra_tasks.model.spec import RunSpec
from infra_tasks.model.timetable import iso
from infra_tasks.schedules import change
from infra_tasks.schedules.entries import entries, run_of
from infra_tasks.schedules.turn import turn
from infra_tasks.settings import Home

if TYPE_CHECKING:
    from infra_tasks.ledger.schedules import Progress

ROOT = Path(__file__).parents[2]
HOUR_S = 3600
TURNS = """
import sys
from infra_tasks.ledger import Ledger
from infra_tasks.model.fleet import parse_fleet
from infra_tasks.schedules.turn import turn
from infra_tasks.settings import Home
from pathlib import Path
ledger = Ledger.at(sys.argv[1], sys.argv[2])
while True:
    turn(ledger, parse_fleet(sys.argv[3]), Home(Path(sys.argv[4])))
"""


class Scheduled:
    """A fleet with one schedule, and the ledger it is looked after in."""

    def __init__(self, ledger: Ledger, root: Path, **said) -> None:
        self.ledger, self.home = ledger, Home(root)
        self.text = json.dumps(fleet_with(root, **said))
        self.fleet = parse_fleet(self.text)
        self.turn()

    def turn(self) -> int:
        return turn(self.ledger, self.fleet, self.home)

    @property
    def progress(self) -> Progress:
        found = self.ledger.schedules.read().of("s")
        assert found
        return found

    def was_last_looked_after(self, ago_s: float) -> float:
        """Let the last look be so long ago; return when that was."""
        seen = self.ledger.schedules.read()
        at = seen.now - ago_s
        before = seen.of("s")
        self.write(replace(before, standing={**before.standing, "last": at, "done": []}))
        return at

    def write(self, progress: Progress) -> None:
        self.ledger.scripts.client.hset(self.ledger.scripts.key("slots"), "s", progress.text)

    def runs(self):
        return [run for run in self.ledger.runs.recent(1000)[::-1] if run.schedule == "s"]

    def slots(self) -> list[str]:
        return sorted(run.slot for run in self.runs())

    def since(self, begin: float) -> list[str]:
        table = self.fleet.schedules["s"].timetable
        last = self.progress.standing["last"]
        return [iso(slot) for slot in table.upto(last, begin, 1000)]

    def cancel_all(self) -> None:
        for run in self.runs():
            self.ledger.runs.cancel(run.id)


def fleet_with(root: Path, **said) -> dict:
    schedule = {"every_s": HOUR_S, "spec": {"command": ["true"]}, **said}
    return {
        "fleet": "f",
        "nodes": {"n1": {"ssh": "local", "root": str(root)}, "n2": {"ssh": "me@n2", "root": "~/x"}},
        "schedules": {"s": schedule} if schedule["every_s"] else {},
    }


@pytest.fixture
def scheduled(ledger, tmp_path):
    """What makes a schedule; the hour does not come to its end while a test looks."""
    eventually(lambda: ledger.nodes.now() % HOUR_S < HOUR_S - 60, said="another hour has begun")
    return lambda **said: Scheduled(ledger, tmp_path, **said)


def test_a_new_schedule_begins_with_the_slot_that_comes_next(scheduled):
    hourly = scheduled(missed="all", overlap="allow")
    assert hourly.turn() == 0
    assert hourly.runs() == []


def test_a_run_says_of_which_schedule_and_slot_it_is(scheduled):
    hourly = scheduled()
    hourly.was_last_looked_after(HOUR_S)
    assert hourly.turn() == 1
    (run,) = hourly.runs()
    assert run.slot == iso(hourly.progress.slot) == hourly.since(hourly.progress.slot - 1)[-1]
    assert (run.name, run.fields["idem"]) == ("s", f"schedule:s:{run.slot}")
    assert hourly.ledger.runs.events(run.id)[0].actor == "schedule s"
    assert hourly.progress.run == run.id
    assert hourly.turn() == 0


def test_beats_that_make_their_turns_at_once_fire_a_slot_once(scheduled, redis_process):
    hourly = scheduled(overlap="allow")
    beats, begin = 6, Barrier(6)

    def beat(_):
        own = Ledger.at(redis_process.url, hourly.ledger.scripts.prefix)
        begin.wait()
        try:
            return turn(own, hourly.fleet, hourly.home)
        finally:
            own.close()

    for ago_s in range(2, 22):
        hourly.was_last_looked_after(ago_s * HOUR_S)
        with ThreadPoolExecutor(beats) as pool:
            list(pool.map(beat, range(beats)))
    assert len(hourly.runs()) == len(set(hourly.slots()))
    assert 1 <= len(hourly.runs()) <= 2  # the hour may have come to its end meanwhile


def test_one_who_saw_an_older_record_fires_nothing(scheduled):
    hourly = scheduled(overlap="allow")
    hourly.was_last_looked_after(HOUR_S)
    seen = hourly.ledger.schedules.read()
    hourly.turn()
    entry = entries(hourly.fleet, seen)["s"]
    other = run_of(entry, hourly.fleet, hourly.home, hourly.progress.slot - HOUR_S, "late")
    assert hourly.ledger.schedules.fire(other, seen.progress["s"], hourly.progress) is None
    assert len(hourly.runs()) == 1


def test_an_answer_that_got_lost_makes_no_second_run(scheduled):
    hourly = scheduled()
    hourly.was_last_looked_after(HOUR_S)
    seen = hourly.ledger.schedules.read()
    slot = hourly.fleet.schedules["s"].timetable.upto(seen.now, 0, 1)[0]
    one = run_of(entries(hourly.fleet, seen)["s"], hourly.fleet, hourly.home, slot, "beat")
    after = replace(seen.of("s"), run="@RUN@", slot=slot, standing={**seen.of("s").standing, "last": slot})
    assert hourly.ledger.schedules.fire(one, seen.progress["s"], after) == one.id
    assert hourly.ledger.schedules.fire(one, seen.progress["s"], after) is None
    assert hourly.progress.run == one.id
    hourly.turn()
    assert len(hourly.slots()) == len(set(hourly.slots()))


def test_a_beat_that_is_killed_at_any_moment_leaves_no_slot_out_and_fires_none_twice(scheduled, redis_process):
    often = scheduled(every_s=1, missed="all", overlap="allow")
    begin = often.was_last_looked_after(30)  # no more than a hundred slots are made up for: a beat may start slowly
    argv = [redis_process.url, often.ledger.scripts.prefix, often.text, str(often.home.root)]
    for _ in range(4):
        before = len(often.runs())
        beat = subprocess.Popen([sys.executable, "-c", TURNS, *argv], env={**os.environ, "PYTHONPATH": str(ROOT)})
        try:
            eventually(lambda before=before: len(often.runs()) > before, said="it fires")
        finally:
            beat.send_signal(signal.SIGKILL)
            beat.wait()
    eventually(lambda: often.turn() == 0)
    assert often.progress.passed == 0
    assert often.slots() == often.since(begin)
    assert len(often.slots()) >= 30


def test_a_rolled_back_record_makes_no_second_run_of_a_slot(scheduled):
    hourly = scheduled(overlap="allow")
    hourly.was_last_looked_after(HOUR_S)
    old = hourly.progress
    hourly.turn()
    (first,) = hourly.runs()
    hourly.write(old)
    hourly.turn()
    assert hourly.progress.run in {run.id for run in hourly.runs()}
    assert len(hourly.slots()) == len(set(hourly.slots()))
    assert first.id == hourly.runs()[0].id


def test_a_run_that_was_made_for_a_slot_counts_though_its_spec_was_another_one(scheduled):
    hourly = scheduled()
    hourly.was_last_looked_after(HOUR_S)
    slot = hourly.fleet.schedules["s"].timetable.upto(hourly.ledger.nodes.now(), 0, 1)[0]
    spec = RunSpec(command=["other"], idempotency_key=f"schedule:s:{iso(slot)}")
    hourly.ledger.runs.submit(Submission("before", spec))
    hourly.turn()
    assert hourly.progress.run == "before"
    assert hourly.runs() == []


def test_in_safe_mode_nothing_is_fired_and_after_it_what_is_due(scheduled):
    hourly = scheduled()
    hourly.was_last_looked_after(HOUR_S)
    client, key = hourly.ledger.scripts.client, hourly.ledger.scripts.key
    client.hset(key("epoch"), "server", "another")
    assert hourly.turn() == 0
    assert hourly.runs() == []
    client.delete(key("safe"))
    assert hourly.turn() == 1


@pytest.mark.parametrize(("overlap", "fired"), [("skip", 1), ("queue", 1), ("cancel", 1), ("allow", 2)])
def test_while_the_run_before_goes_on_a_slot_is_treated_as_the_policy_says(scheduled, overlap, fired):
    hourly = scheduled(overlap=overlap)
    hourly.was_last_looked_after(2 * HOUR_S)
    hourly.turn()
    (first,) = hourly.runs()
    seen = hourly.progress
    hourly.write(replace(seen, slot=0, standing={**seen.standing, "waiting": [seen.slot - HOUR_S]}))
    hourly.turn()
    assert len(hourly.runs()) == fired
    assert hourly.progress.standing["waiting"] == ([seen.slot - HOUR_S] if overlap in {"queue", "cancel"} else [])
    assert hourly.progress.passed - seen.passed == (overlap == "skip")
    assert (hourly.ledger.runs.peek(first.id)[0] == "REVOKED") == (overlap == "cancel")
    hourly.cancel_all()
    hourly.turn()
    assert len(hourly.runs()) == (1 if overlap == "skip" else 2)
    assert hourly.progress.standing["waiting"] == []


def test_a_slot_that_cannot_be_fired_is_told_and_holds_up_nothing(scheduled, tmp_path):
    hourly = scheduled(spec={"command": ["true"], "labels": ["gpu"]})
    hourly.was_last_looked_after(HOUR_S)
    assert hourly.turn() == 0
    assert "labels: no node has all of gpu" in hourly.progress.trouble["said"]
    assert hourly.progress.passed >= 1
    hourly.fleet = parse_fleet(json.dumps(fleet_with(tmp_path)))
    hourly.was_last_looked_after(HOUR_S)
    assert hourly.turn() == 1
    assert hourly.progress.trouble is None


def test_what_comes_while_a_schedule_is_paused_is_not_fired_and_was_not_missed(scheduled):
    hourly = scheduled(missed="all", overlap="allow")
    entry = entries(hourly.fleet, hourly.ledger.schedules.read())["s"]
    change.pause(hourly.ledger, entry, "me@here", "the disk is full")
    again = change.pause(hourly.ledger, entry, "you@there")
    assert (again.paused["by"], again.paused["why"]) == ("me@here", "the disk is full")
    hourly.was_last_looked_after(3 * HOUR_S)
    assert hourly.turn() == 0
    change.resume(hourly.ledger, entry)
    assert hourly.turn() == 0
    assert (hourly.progress.paused, hourly.progress.passed, hourly.runs()) == (None, 0, [])
    hourly.was_last_looked_after(HOUR_S)
    assert hourly.turn() == 1


def test_an_entry_that_was_away_begins_anew_when_it_comes_back(scheduled):
    hourly = scheduled(missed="all", overlap="allow")
    hourly.was_last_looked_after(3 * HOUR_S)
    with_it, hourly.fleet = hourly.fleet, hourly.fleet.model_copy(update={"schedules": {}})
    assert hourly.turn() == 0
    assert hourly.progress.gone
    hourly.fleet = with_it
    assert hourly.turn() == 0
    assert hourly.turn() == 0
    assert not hourly.progress.gone


def test_a_schedule_is_added_to_the_ledger_fired_and_removed(scheduled):
    empty = scheduled(every_s=None)
    schedule = schedule_of({"every_s": 60, "spec": {"command": ["date"]}}, "s")
    change.add(empty.ledger, empty.fleet, empty.home, "s", schedule, "me@here")
    with pytest.raises(BadInput, match="there is a schedule 's' already"):
        change.add(empty.ledger, empty.fleet, empty.home, "s", schedule, "me@here")
    found = entries(empty.fleet, empty.ledger.schedules.read())["s"]
    assert (found.schedule, found.added["by"]) == (schedule, "me@here")
    empty.was_last_looked_after(60)
    assert empty.turn() == 1
    change.remove(empty.ledger, "s")
    assert entries(empty.fleet, empty.ledger.schedules.read()) == {}
    assert empty.turn() == 0
    with pytest.raises(BadInput, match="no schedule 's'"):
        change.remove(empty.ledger, "s")


def test_what_does_not_fit_the_fleet_is_not_added(scheduled):
    hourly = scheduled()
    wrong = schedule_of({"every_s": 60, "spec": {"command": ["date"], "node": "n3"}}, "t")
    with pytest.raises(BadSpec, match="'n3' is not in nodes"):
        change.add(hourly.ledger, hourly.fleet, hourly.home, "t", wrong, "me@here")
    with pytest.raises(BadInput, match=r"written in .*nodes\.json"):
        change.add(hourly.ledger, hourly.fleet, hourly.home, "s", wrong, "me@here")
    assert hourly.ledger.schedules.read().added == {}


def test_a_schedule_of_nodes_json_goes_before_one_of_the_same_name_in_the_ledger(scheduled):
    empty = scheduled(every_s=None)
    change.add(
        empty.ledger, empty.fleet, empty.home, "s", schedule_of({"every_s": 60, "spec": {"command": "x"}}, "s"), "me"
    )
    both = parse_fleet(json.dumps(fleet_with(empty.home.root)))
    found = entries(both, empty.ledger.schedules.read())["s"]
    assert (found.schedule.every_s, found.added) == (HOUR_S, None)
