"""The story of a run as phases, and phases as a picture."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra_tasks.cli.bars import ASCII_LIMIT, LIMIT, MOST_ROWS, picture
from infra_tasks.cli.phases import Phase, phases
from infra_tasks.ledger.records import Event

T = 1000.0


def moved(at, before, after, cause="", attempt=None):
    return Event(T + at, before, after, "test", cause, f"{attempt}:c" if attempt else None)


def story(*events, now=100.0, timeout_s=50.0, reason=None):
    """Return (kind, attempt, begin, end, limit) of each phase, moments from the beginning on."""
    found = phases(events, now=T + now, timeout_s=timeout_s, reason=reason)
    return [(one.kind, one.attempt, one.began_at - T, one.ended_at and one.ended_at - T, one.limit_s) for one in found]


SUBMITTED = moved(0, "", "PENDING", "submitted")
DISPATCHED = moved(1, "PENDING", "SYNCING", "dispatched on a")
READY = moved(3, "SYNCING", "QUEUED", "code ready")
CLAIMED = moved(4, "QUEUED", "SYNCING", "claimed by a", attempt=1)
STARTED = moved(5, "SYNCING", "STARTED", "code verified", attempt=1)


def test_a_run_waits_has_its_code_brought_queues_and_runs():
    ended = moved(9, "STARTED", "SUCCESS", "exit code 0", attempt=1)
    assert story(SUBMITTED, DISPATCHED, READY, CLAIMED, STARTED, ended) == [
        ("waiting", 1, 0, 1, None),
        ("sync", 1, 1, 3, None),
        ("queue", 1, 3, 4, None),
        ("sync", 1, 4, 5, None),
        ("run", 1, 5, 9, 50.0),
    ]


def test_a_live_run_has_no_end():
    assert story(SUBMITTED)[-1] == ("waiting", 1, 0, None, None)
    assert story(SUBMITTED, DISPATCHED, READY, CLAIMED, STARTED, now=30)[-1] == ("run", 1, 5, None, 50.0)


def test_beyond_its_limit_a_run_is_being_killed():
    assert story(STARTED, now=60)[-2:] == [("run", 1, 5, 55, 50.0), ("kill", 1, 55, None, None)]
    ended = moved(58, "STARTED", "FAILURE", "timeout", attempt=1)
    assert story(STARTED, ended, reason="timeout")[-2:] == [("run", 1, 5, 55, 50.0), ("kill", 1, 55, 58, None)]
    again = moved(58, "STARTED", "RETRY", "timeout", attempt=1)
    assert story(STARTED, again)[:2] == [("run", 1, 5, 55, 50.0), ("kill", 1, 55, 58, None)]


def test_an_end_that_was_reported_late_is_no_kill():
    ended = moved(90, "STARTED", "FAILURE", "exit code 1", attempt=1)
    assert story(STARTED, ended, reason="exit_code") == [("run", 1, 5, 90, 50.0)]


def test_from_the_moment_somebody_asked_a_run_is_being_killed():
    asked, ended = (
        moved(20, "STARTED", "STARTED", "cancel asked"),
        moved(23, "STARTED", "REVOKED", "cancelled", attempt=1),
    )
    assert story(STARTED, asked, ended) == [("run", 1, 5, 20, 50.0), ("kill", 1, 20, 23, None)]


def test_attempts_have_numbers_and_pauses_between_them():
    ended = moved(10, "STARTED", "RETRY", "exit code 1", attempt=1)
    due = moved(20, "RETRY", "QUEUED", "its moment has come")
    second = moved(21, "QUEUED", "STARTED", "claimed by a", attempt=2)
    assert [one[:4] for one in story(STARTED, ended, due, second, now=30)] == [
        ("run", 1, 5, 10),
        ("pause", 1, 10, 20),
        ("queue", 2, 20, 21),
        ("run", 2, 21, None),
    ]


def test_each_attempt_shows_the_limit_it_had():
    ended = moved(10, "STARTED", "RETRY", "exit code 1", attempt=1)
    due = moved(20, "RETRY", "QUEUED", "its moment has come")
    second = moved(21, "QUEUED", "STARTED", "claimed by a", attempt=2)
    extended = moved(30, "STARTED", "STARTED", "limit extended by 25 s to 75 s")
    failed = moved(40, "STARTED", "FAILURE", "exit code 1", attempt=2)
    again = moved(60, "STARTED", "STARTED", "limit extended by 25 s to 100 s")
    told = [STARTED, ended, due, second, extended, failed, again]
    assert [one[4] for one in story(*told, timeout_s=100.0) if one[0] == "run"] == [50.0, 75.0]


def drawn(*found, now=200.0, width=60, **options):
    rows = picture([Phase(*one) for one in found], now=now, width=width, **options)
    return [f"{row.label}  {row.before}{row.bar}{row.behind}  {row.words}".rstrip() for row in rows]


def test_the_picture_of_a_run_with_two_attempts():
    found = drawn(
        ("waiting", 1, 0.0, 10.0),
        ("run", 1, 10.0, 40.0, 60.0),
        ("pause", 1, 40.0, 60.0),
        ("run", 2, 60.0, 90.0, 30.0),
        ("kill", 2, 90.0, 100.0),
        width=51,
    )
    assert found == [
        "waiting  ░░░                             10s",
        "run 1       █████████         ┃          30s of 1m",
        "pause                ······              20s",
        "run 2                      █████████┃    30s of 30s",
        "kill 2                              ▚▚▚  10s",
        "         0s                       1m40s",
    ]


def test_a_live_run_comes_up_to_now_and_the_shortest_phase_is_seen():
    found = drawn(
        ("waiting", 1, 0.0, 0.004),
        ("queue", 1, 0.004, 1.5),
        ("run", 1, 1.5, None, 7200.0),
        now=70.0,
        width=40,
        ascii_only=True,
    )
    assert found == [
        "waiting  .             0.0s",
        "queue    -             1.5s",
        "run      ############  1m8s of 2h so far",
        "         0s       now",
    ]


def test_a_limit_that_was_reached_at_the_very_end_is_marked():
    for sign, ascii_only in ((LIMIT, False), (ASCII_LIMIT, True)):
        lines = drawn(("run", 1, 0.0, 30.0, 30.0), ("kill", 1, 30.0, 30.05), ascii_only=ascii_only)
        assert lines[0].count(sign) == 1


def test_a_run_that_has_just_been_accepted_has_a_picture_too():
    assert drawn(("queue", 1, 200.0, None))[0].startswith("queue  ▒")
    assert picture([], now=1.0, width=80) == []


def test_of_a_long_story_the_middle_is_left_out():
    many = [("pause" if at % 2 else "run", at // 2 + 1, float(at), at + 1.0) for at in range(100)]
    lines = drawn(*many)
    assert len(lines) == MOST_ROWS + 2
    assert lines[MOST_ROWS // 2] == f"({100 - MOST_ROWS} more)"
    assert lines[-2].startswith("pause")


KINDS = ["waiting", "sync", "queue", "run", "kill", "pause"]


@given(
    st.lists(st.tuples(st.sampled_from(KINDS), st.floats(0, 1e6), st.floats(0.001, 1e6)), min_size=1, max_size=30),
    st.integers(40, 250),
    st.booleans(),
)
def test_no_line_is_wider_than_it_may_be(spans, width, live):
    found, at = [], 0.0
    for number, (kind, span_s, limit_s) in enumerate(spans, 1):
        ended_at = None if live and number == len(spans) else at + span_s
        found.append((kind, number, at, ended_at, limit_s if kind == "run" else None))
        at += span_s
    for line in drawn(*found, now=at + 1, width=width):
        assert len(line) <= width


@pytest.mark.parametrize("reason", [None, "timeout"])
def test_a_story_that_lost_its_beginning_is_told_from_where_it_is_known(reason):
    ended = moved(9, "STARTED", "FAILURE", "timeout", attempt=7)
    assert story(moved(5, "QUEUED", "STARTED", attempt=7), ended, reason=reason) == [("run", 7, 5, 9, 50.0)]
