"""Reading along from the last lines, or from a moment: settled once, on both ways output can come."""

from __future__ import annotations

import time
from itertools import count
from uuid import uuid4

import pytest
from read_along import Running, agent_of, read_in_background, text_of
from waiting import eventually

from infra_tasks.errors import BadInput
from infra_tasks.follow import Follower, Gap, follow
from infra_tasks.ledger.output import Outputs
from infra_tasks.ledger.runs import Submission
from infra_tasks.model.spec import RunSpec
from infra_tasks.settings import Home
from infra_tasks.ship import Shipper


@pytest.fixture
def home(tmp_path):
    return Home(tmp_path / "here")


@pytest.fixture
def elsewhere(tmp_path):
    return Home(tmp_path / "elsewhere")


def numbered(count, first=0):
    return b"".join(b"%05d\n" % number for number in range(first, first + count))


def rest_of(follower):
    """Read until all is read."""
    got = []
    eventually(lambda: got.extend(follower.turn()) or follower.over, said="all is read")
    return got


def test_the_last_lines_of_each_stream_come_and_then_what_is_written(ledger, home, elsewhere):
    for place in (home, elsewhere):
        run = Running(ledger, place)
        run.writes(numbered(50_000))
        run.writes(b"e1\ne2\n", "stderr")
        with agent_of(elsewhere, ledger):
            got, thread = read_in_background(home, ledger, run.id, tail=1)
            eventually(lambda got=got: text_of(got) == b"49999\n", said="the last line of what was there")
            run.writes(b"new\n")
            run.ends()
            thread.join(180)
        assert text_of(got) == b"49999\nnew\n"
        assert text_of(got, "stderr") == b"e2\n"


def test_readers_whose_beginning_takes_long_to_find_have_their_turns_one_after_the_other(ledger, home, elsewhere):
    run = Running(ledger, elsewhere)
    run.writes(b"one\ntwo\n")
    followers = [Follower(home, ledger, run.id, tail=1, streams=("stdout",)) for _ in range(3)]
    got = [text_of(each.turn()) for each in followers]
    seconds = count()
    shipper = Shipper(elsewhere, ledger, clock=lambda: float(next(seconds)))
    for turn in (1, 2, 3):
        shipper.turn()
        got = [had + text_of(each.turn()) for had, each in zip(got, followers, strict=True)]
        assert sorted(got) == [b""] * (3 - turn) + [b"two\n"] * turn
    for each in followers:
        each.close()


def test_only_what_was_written_after_a_moment_comes(ledger, home, elsewhere):
    for place in (home, elsewhere):
        run = Running(ledger, place)
        run.writes(b"old\n")
        run.ends()
        with agent_of(elsewhere, ledger):
            assert text_of(follow(home, ledger, run.id, since=time.time() - 3600)) == b"old\n"
            assert text_of(follow(home, ledger, run.id, since=time.time() + 3600)) == b""


def test_no_line_at_all_means_only_what_is_new(ledger, home, elsewhere):
    for place in (home, elsewhere):
        run = Running(ledger, place)
        run.writes(b"old\n")
        with agent_of(elsewhere, ledger):
            assert text_of(follow(home, ledger, run.id, tail=0, until_final=False)) == b""


def test_what_a_waiting_run_writes_before_the_first_look_at_its_attempt_is_not_passed_over(ledger, home, elsewhere):
    for place in (home, elsewhere):
        run_id = ledger.runs.submit(Submission(str(uuid4()), RunSpec(command=["true"])))
        follower = Follower(home, ledger, run_id, tail=1, since=time.time() + 3600)
        assert follower.turn() == []
        run = Running(ledger, place, run_id)
        run.writes(numbered(100))
        run.ends()
        with agent_of(elsewhere, ledger):
            assert text_of(rest_of(follower)) == numbered(100)


def test_the_attempt_after_the_one_that_was_begun_late_is_read_whole(ledger, home):
    first = Running(ledger, home)
    first.writes(numbered(10))
    follower = Follower(home, ledger, first.id, tail=1)
    got = follower.turn()
    first.ends(retry_in_s=0.0)
    first.becomes_claimable()
    second = Running(ledger, home, first.id, attempt=2)
    second.writes(b"second1\nsecond2\n")
    second.ends()
    while not follower.over:
        got += follower.turn()
    assert text_of(got) == b"00009\nsecond1\nsecond2\n"


def lost(ledger):
    """Empty the box of the one reader, as an answer that was lost with its connection does."""
    (wish,) = Outputs(ledger.scripts).wishes()
    assert Outputs(ledger.scripts).take(wish.run, wish.reader)


def test_where_it_begins_is_settled_once_whatever_boxes_and_agents_come_after(ledger, home, elsewhere):
    run = Running(ledger, elsewhere)
    run.writes(numbered(10))
    now = [0.0]
    follower = Follower(home, ledger, run.id, tail=2, clock=lambda: now[0])
    got = follower.turn()
    for agent in range(3):
        Shipper(elsewhere, ledger).turn()
        lost(ledger)
        run.writes(numbered(10, first=10 * (agent + 1)))
        now[0] += 5  # the box stayed empty: another one
        got += follower.turn()
    Shipper(elsewhere, ledger).turn()
    got += follower.turn()
    assert text_of(got) == numbered(32, first=8)


def test_where_it_begins_is_not_settled_anew_after_the_connection_was_lost(ledger, home, elsewhere):
    run = Running(ledger, elsewhere)
    run.writes(numbered(10))
    follower = Follower(home, ledger, run.id, tail=2)
    follower.turn()
    Shipper(elsewhere, ledger).turn()
    follower.use(ledger)
    run.writes(numbered(10, first=10))
    follower.turn()
    Shipper(elsewhere, ledger).turn()
    assert text_of(follower.turn()) == numbered(12, first=8)
    follower.use(ledger)
    run.writes(numbered(10, first=20))
    follower.turn()
    Shipper(elsewhere, ledger).turn()
    assert text_of(follower.turn()) == numbered(10, first=20)


def test_what_says_where_to_begin_may_be_lost_alone(ledger, home, elsewhere):
    run = Running(ledger, elsewhere)
    run.writes(numbered(3))
    follower = Follower(home, ledger, run.id, tail=1, clock=lambda: 0.0)  # no box is renewed for its age
    follower.turn()
    shipper = Shipper(elsewhere, ledger)
    shipper.turn()
    lost(ledger)
    run.writes(b"more\n")
    run.ends()
    got = []

    def all_read():
        shipper.turn()
        got.extend(follower.turn())
        return follower.over

    eventually(all_read)
    assert text_of(got) == b"00002\nmore\n"


def test_output_dropped_since_the_beginning_was_settled_is_a_gap(ledger, home, elsewhere):
    run = Running(ledger, elsewhere, cap_bytes=300)
    run.writes(b"h" * 99 + b"\n" + b"a\n" * 10)
    follower = Follower(home, ledger, run.id, streams=("stdout",), tail=1)
    follower.turn()
    Shipper(elsewhere, ledger).turn()
    lost(ledger)
    run.writes(b"m" * 1000)
    follower.use(ledger)
    got = follower.turn()
    Shipper(elsewhere, ledger).turn()
    got += follower.turn()
    assert isinstance(got[0], Gap)
    assert got[0].offset == 118
    assert sum(each.end - each.offset if isinstance(each, Gap) else len(each.data) for each in got) == 1002


def test_who_reads_no_more_leaves_nothing_behind(ledger, home, elsewhere):
    run = Running(ledger, elsewhere)
    run.writes(b"z\n")
    follower = Follower(home, ledger, run.id, tail=1)
    follower.turn()
    Shipper(elsewhere, ledger).turn()
    assert ledger.scripts.client.keys(ledger.scripts.key("begun", "*"))
    follower.close()
    for kind in ("begun", "out", "asked"):
        assert not ledger.scripts.client.keys(ledger.scripts.key(kind, "*"))


def test_what_is_no_number_of_lines_is_refused(ledger, home):
    with pytest.raises(BadInput, match="tail"):
        Follower(home, ledger, "any", tail=-1)
