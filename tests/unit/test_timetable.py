"""When schedules are due: by the wall clock of a zone, over its changes, and by intervals."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infra_tasks.model.timetable import Timetable, iso

HALF_HOUR, DAY_LOST, TWICE_A_DAY = "Australia/Lord_Howe", "Pacific/Apia", "Africa/Casablanca"
ZONES = ("UTC", "Europe/Berlin", "America/New_York", "America/St_Johns", "Asia/Kolkata", HALF_HOUR, TWICE_A_DAY)
CRONS = ("0 3 * * *", "30 2 * * *", "15,45 1-3 * * *", "*/20 * * * *", "59 23 * * sun", "0 0 1 * *", "@hourly")


def at(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


def slots(cron: str, zone: str, first: str, last: str) -> list[str]:
    return [iso(slot) for slot in Timetable(cron, None, zone).upto(at(last), at(first), 1000)]


def test_a_time_of_day_is_that_of_the_zone():
    assert slots("0 3 * * *", "Europe/Berlin", "2026-01-01", "2026-01-02") == ["2026-01-01T02:00:00Z"]
    assert slots("0 3 * * *", "Europe/Berlin", "2026-07-01", "2026-07-02") == ["2026-07-01T01:00:00Z"]


def test_a_time_that_clocks_leave_out_is_the_first_moment_after_the_gap():
    assert slots("30 2 * * *", "Europe/Berlin", "2026-03-28T12:00", "2026-03-29T12:00") == ["2026-03-29T01:00:00Z"]
    assert slots("15 2 * * *", HALF_HOUR, "2026-10-03", "2026-10-04") == ["2026-10-03T15:30:00Z"]
    assert slots("0 12 30 12 *", DAY_LOST, "2011-12-29", "2012-01-02") == ["2011-12-30T10:00:00Z"]


def test_slots_that_fall_on_the_end_of_a_gap_are_one():
    found = slots("*/30 * * * *", "Europe/Berlin", "2026-03-29T00:00", "2026-03-29T01:30")
    assert found == ["2026-03-29T00:30:00Z", "2026-03-29T01:00:00Z", "2026-03-29T01:30:00Z"]


def test_a_time_that_comes_twice_is_due_the_first_time_only():
    assert slots("30 2 * * *", "Europe/Berlin", "2026-10-24T12:00", "2026-10-25T12:00") == ["2026-10-25T00:30:00Z"]
    assert slots("45 1 * * *", HALF_HOUR, "2026-04-04", "2026-04-05") == ["2026-04-04T14:45:00Z"]


def test_in_the_second_of_two_equal_hours_those_of_the_first_are_known():
    early = Timetable("*/15 * * * *", None, "Europe/Berlin").upto(at("2026-10-25T01:05"), at("2026-10-25T00:00"), 9)
    assert [iso(slot) for slot in early] == [f"2026-10-25T00:{minute}:00Z" for minute in (15, 30, 45)]


def test_an_interval_counts_from_1970_on():
    table = Timetable(None, 900)
    assert [iso(slot) for slot in table.upto(at("2026-11-29T08:40"), 0, 2)] == [
        "2026-11-29T08:15:00Z",
        "2026-11-29T08:30:00Z",
    ]
    assert table.following(at("2026-11-29T08:30"), 2) == [at("2026-11-29T08:45"), at("2026-11-29T09:00")]


def test_a_leap_of_centuries_costs_no_more_than_the_slots_that_are_asked_for():
    late = at("2026-01-01") + 300 * 365 * 86400
    for table in (Timetable(None, 1), Timetable("* * * * *", None, "Europe/Berlin")):
        found = table.upto(late, 0, 100)
        assert len(found) == 100
        assert late - found[0] <= 100 * 60


def test_a_day_that_comes_in_leap_years_only_is_found_both_ways():
    table = Timetable("0 0 29 2 *", None, "UTC")
    assert [iso(slot) for slot in table.following(at("2026-01-01"), 2)] == [
        "2028-02-29T00:00:00Z",
        "2032-02-29T00:00:00Z",
    ]
    assert [iso(slot) for slot in table.upto(at("2026-01-01"), 0, 1)] == ["2024-02-29T00:00:00Z"]


tables = st.one_of(
    st.builds(Timetable, st.sampled_from(CRONS), st.none(), st.sampled_from(ZONES)),
    st.builds(Timetable, st.none(), st.integers(600, 90_000)),
)
# Around the days on which Berlin, New York, Lord Howe and others change their clocks.
moments = st.sampled_from(
    ["2026-03-08", "2026-03-29", "2026-04-04", "2026-10-03", "2026-10-25", "2026-11-01", "2026-02-15", "2026-03-22"]
).flatmap(lambda day: st.integers(-90_000, 90_000).map(lambda by_s: at(day) + by_s))


@settings(deadline=None)
@given(tables, moments, st.integers(1, 100_000))
def test_looking_back_finds_what_looking_ahead_foretold(table, begin, span_s):
    foretold = [slot for slot in table.following(begin, 200) if slot <= begin + span_s]
    assert table.upto(begin + span_s, begin, 200) == foretold


@settings(deadline=None)
@given(tables, moments, st.lists(st.integers(1, 30_000), min_size=1, max_size=12))
def test_many_short_looks_find_what_one_long_look_finds_each_once(table, begin, steps):
    looks = [begin + sum(steps[:count]) for count in range(len(steps) + 1)]
    found = [slot for after, now in pairwise(looks) for slot in table.upto(now, after, 1000)]
    assert found == table.upto(looks[-1], begin, 1000) == sorted(set(found))


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("hour", range(24))
def test_every_day_of_a_year_has_each_time_of_day_once(zone, hour):
    table, there = Timetable(f"30 {hour} * * *", None, zone), ZoneInfo(zone)
    found = table.upto(at("2027-01-01T12:00"), at("2026-01-01T12:00"), 1000)
    days = [(datetime.fromtimestamp(slot, there) + timedelta(0)).date() for slot in found]
    assert len(days) == len(set(days)) == (days[-1] - days[0]).days + 1
