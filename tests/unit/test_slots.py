"""Slots: none is fired twice, and none is lost but by the policy of its schedule - whatever clocks and beats do."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infra_tasks.model.slots import LATE_AFTER_S, LEAP_S, MOST_MISSED, Do, Standing, look, move
from infra_tasks.model.timetable import Timetable

START = 1_774_000_000.0  # a week before Berlin changes its clocks
NIGHTLY = Timetable("30 2 * * *", None, "Europe/Berlin")
TABLES = st.sampled_from(
    [
        Timetable(None, 1),
        Timetable(None, 60),
        Timetable(None, 7 * 3600),
        Timetable("*/10 * * * *", None, "America/New_York"),
        Timetable("15 */2 * * *", None, "Europe/Berlin"),
        NIGHTLY,
    ]
)
# A tick, a pause, an outage, days; and clocks that go back.
STEPS = st.lists(
    st.one_of(
        st.floats(0.01, 3),
        st.floats(30, 900),
        st.floats(3600, 10 * 86400),
        st.floats(-7200, -0.01),
        st.just(-30.0 * 86400),
    ),
    min_size=1,
    max_size=40,
)
FORWARD = st.lists(st.one_of(st.floats(0.01, 3), st.floats(30, 900), st.floats(3600, 5 * 86400)), max_size=40)


@dataclass
class Fired:
    """A schedule that is looked after; each run ends at once."""

    table: Timetable
    missed: str
    now: float = START
    slots: list[int] = field(default_factory=list)
    passed_over: int = 0

    def __post_init__(self) -> None:
        self.standing = Standing.begun(self.table, self.now)

    def tick(self, by_s: float) -> list[int]:
        self.now += by_s
        looked = look(self.table, Standing.of_json(self.standing.as_json()), self.now, self.missed)
        self.standing, self.passed_over = looked.standing, self.passed_over + looked.passed_over
        fired = []
        while (step := move(self.standing, "allow", goes_on=False)).do is Do.FIRE:
            fired.append(step.slot)
            self.standing = step.standing
        self.slots += fired
        return fired


@settings(deadline=None)
@given(TABLES, st.sampled_from(["skip", "one", "all"]), STEPS)
def test_no_slot_is_fired_twice_or_early_whatever_the_clock_does(table, missed, steps):
    schedule = Fired(table, missed)
    for by_s in steps:
        assert all(slot <= schedule.now for slot in schedule.tick(by_s))
    assert len(set(schedule.slots)) == len(schedule.slots)
    assert all(table.upto(slot, slot - 1, 1) == [slot] for slot in schedule.slots)


@settings(deadline=None)
@given(TABLES, FORWARD)
def test_all_fires_every_slot_up_to_a_hundred_at_once(table, steps):
    schedule = Fired(table, "all")
    for by_s in steps:
        due = table.upto(schedule.now + by_s, schedule.now, MOST_MISSED)
        assert schedule.tick(by_s) == due
    assert schedule.passed_over == 0


@settings(deadline=None)
@given(TABLES, FORWARD)
def test_one_fires_the_last_of_those_that_came(table, steps):
    schedule = Fired(table, "one")
    for by_s in steps:
        assert schedule.tick(by_s) == table.upto(schedule.now, schedule.now - by_s, 1)


@settings(deadline=None)
@given(TABLES, FORWARD)
def test_skip_fires_what_is_on_time_and_nothing_else(table, steps):
    schedule = Fired(table, "skip")
    for by_s in steps:
        fired = schedule.tick(by_s)
        last = table.upto(schedule.now, schedule.now - by_s, 1)
        assert fired == [slot for slot in last if schedule.now - slot <= LATE_AFTER_S]


@settings(deadline=None)
@given(TABLES, st.sampled_from(["skip", "one", "all"]), st.integers(1, 100))
def test_who_is_looked_after_all_the_time_misses_nothing(table, missed, ticks):
    schedule = Fired(table, missed)
    every_s = 0.5 if table.every_s == 1 else 45.0
    for _ in range(ticks):
        schedule.tick(every_s)
    assert schedule.slots == table.upto(schedule.now, START, 1000)[-len(schedule.slots) :]
    assert len(schedule.slots) == len(table.upto(schedule.now, START, 1000))
    assert schedule.passed_over == 0


def test_a_clock_that_leapt_years_ahead_and_came_back_silences_nothing():
    schedule = Fired(Timetable(None, 60), "one")
    schedule.tick(60)
    ahead = schedule.tick(10 * 365 * 86400)
    assert schedule.tick(-10 * 365 * 86400) == []
    later = [slot for _ in range(5) for slot in schedule.tick(60)]
    assert len(later) == 5
    assert not {*ahead} & {*later}


def test_slots_of_an_hour_that_the_clock_goes_through_twice_are_fired_once():
    schedule = Fired(Timetable(None, 60), "one")
    for _ in range(60):
        schedule.tick(60)
    schedule.tick(-3600)
    assert [slot for _ in range(59) for slot in schedule.tick(60)] == []
    assert [slot for _ in range(3) for slot in schedule.tick(60)]


def test_a_hole_smaller_than_a_leap_is_not_filled_later():
    schedule = Fired(Timetable(None, 60), "one")
    schedule.tick(LEAP_S)
    schedule.tick(-LEAP_S + 60)
    assert [slot for _ in range(5) for slot in schedule.tick(60)] == []


def test_after_a_change_of_its_timetable_only_what_comes_is_due():
    standing = Standing.begun(NIGHTLY, START)
    often = Timetable("*/5 * * * *", None, "UTC")
    looked = look(often, standing, START + 40 * 86400, "all")
    assert (looked.standing.waiting, looked.passed_over) == ((), 0)
    assert len(look(often, looked.standing, START + 40 * 86400 + 301, "all").standing.waiting) == 1


def waits(*slots: int) -> Standing:
    return Standing("x", 9, (), slots)


@pytest.mark.parametrize(
    ("overlap", "goes_on", "waiting", "said", "slot", "left"),
    [
        ("skip", False, (1, 2), Do.FIRE, 1, (2,)),
        ("skip", True, (1, 2), Do.DROP, 0, ()),
        ("queue", False, (1, 2), Do.FIRE, 1, (2,)),
        ("queue", True, (1, 2), Do.NOTHING, 0, (1, 2)),
        ("allow", True, (1, 2), Do.FIRE, 1, (2,)),
        ("cancel", True, (1, 2), Do.DROP, 0, (2,)),
        ("cancel", True, (2,), Do.CANCEL, 0, (2,)),
        ("cancel", False, (2,), Do.FIRE, 2, ()),
        ("cancel", True, (), Do.NOTHING, 0, ()),
    ],
)
def test_what_becomes_of_a_slot_while_the_run_before_goes_on(overlap, goes_on, waiting, said, slot, left):
    step = move(waits(*waiting), overlap, goes_on=goes_on)
    assert (step.do, step.slot, step.standing.waiting) == (said, slot, left)
    assert step.passed_over == (len(waiting) - len(left) if said is Do.DROP else 0)
