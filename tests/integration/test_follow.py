"""Reading along: real files, a real Redis, the agent's side in a thread where the output is on another node."""

from __future__ import annotations

import json
from contextlib import suppress
from uuid import uuid4

import pytest
from read_along import Running, agent_of, read_in_background, text_of
from waiting import eventually

from infra_tasks.errors import BadInput, FleetUnreachable, UnknownRun
from infra_tasks.follow import NODE_SILENT_S, Follower, Gap, follow
from infra_tasks.ledger import Ledger
from infra_tasks.ledger.output import BOX_KEPT_S, Outputs
from infra_tasks.ledger.runs import Submission
from infra_tasks.model.spec import RunSpec
from infra_tasks.settings import Home
from infra_tasks.ship import TURN_BYTES, UNDER_WAY_BYTES, Shipper


@pytest.fixture
def home(tmp_path):
    return Home(tmp_path / "here")


@pytest.fixture
def elsewhere(tmp_path):
    return Home(tmp_path / "elsewhere")


def test_output_on_this_disk_comes_as_it_is_written_and_ends_with_the_run(ledger, home):
    run = Running(ledger, home)
    got, thread = read_in_background(home, ledger, run.id)
    run.writes(b"one\n")
    eventually(lambda: text_of(got) == b"one\n", 10, "the first line came while the run goes on")
    run.writes(b"two\n")
    run.writes(b"oops\n", "stderr")
    run.ends()
    thread.join(180)
    assert not thread.is_alive()
    assert text_of(got) == b"one\ntwo\n"
    assert text_of(got, "stderr") == b"oops\n"


def test_output_of_another_node_comes_through_the_ledger_byte_for_byte(ledger, home, elsewhere):
    run = Running(ledger, elsewhere)
    every_byte = bytes(range(256)) * 3 + "äöü 漢字\n".encode()
    with agent_of(elsewhere, ledger):
        got, thread = read_in_background(home, ledger, run.id)
        run.writes(every_byte)
        run.writes(b"e\xff\n", "stderr")
        eventually(lambda: text_of(got) == every_byte, 10, "the bytes came while the run goes on")
        run.writes(b"end")
        run.ends()
        thread.join(180)
        assert not thread.is_alive()
    assert text_of(got) == every_byte + b"end"
    assert text_of(got, "stderr") == b"e\xff\n"


def test_two_readers_at_different_places_of_one_run_do_not_disturb_each_other(ledger, home, elsewhere):
    run = Running(ledger, elsewhere)
    whole = b"".join(b"%07d\n" % number for number in range(200_000))
    with agent_of(elsewhere, ledger):
        run.writes(whole[:400_000])
        first, one = read_in_background(home, ledger, run.id)
        eventually(lambda: len(text_of(first)) >= 300_000, 20, "the first reader is well on its way")
        second, two = read_in_background(home, ledger, run.id)
        run.writes(whole[400_000:])
        run.ends()
        one.join(180)
        two.join(180)
    assert text_of(first) == whole
    assert text_of(second) == whole


def test_output_is_read_on_after_the_agent_was_replaced(ledger, home, elsewhere):
    run = Running(ledger, elsewhere)
    got, thread = read_in_background(home, ledger, run.id)
    run.writes(b"a" * 1000)
    with agent_of(elsewhere, ledger):
        eventually(lambda: len(text_of(got)) == 1000, 20)
    run.writes(b"b" * 1000)
    with agent_of(elsewhere, ledger):
        eventually(lambda: len(text_of(got)) == 2000, 20)
        run.ends()
        thread.join(180)
    assert text_of(got) == b"a" * 1000 + b"b" * 1000


def test_a_new_shipper_repeats_parcels_and_the_reader_skips_what_it_has(ledger, home, elsewhere):
    run = Running(ledger, elsewhere)
    run.writes(b"x" * 5000)
    follower = Follower(home, ledger, run.id)
    assert follower.turn() == []
    Shipper(elsewhere, ledger).turn()
    Shipper(elsewhere, ledger).turn()
    assert text_of(follower.turn()) == b"x" * 5000


def test_a_parcel_lost_on_its_way_is_sent_again(ledger, home, elsewhere):
    run = Running(ledger, elsewhere)
    run.writes(b"lost")
    follower = Follower(home, ledger, run.id)
    follower.turn()
    shipper = Shipper(elsewhere, ledger)
    shipper.turn()
    (wish,) = Outputs(ledger.scripts).wishes()
    assert Outputs(ledger.scripts).take(wish.run, wish.reader), "somebody else's hand empties the box"
    run.writes(b" and found")
    got = []

    def whole():
        shipper.turn()
        got.extend(follower.turn())
        return text_of(got) == b"lost and found"

    eventually(whole, 20, "both parts came, in order")


def test_the_last_parcel_lost_on_its_way_is_sent_again_too(ledger, home, elsewhere):
    run = Running(ledger, elsewhere)
    run.writes(b"last words")
    now = [0.0]
    follower = Follower(home, ledger, run.id, clock=lambda: now[0])
    follower.turn()
    shipper = Shipper(elsewhere, ledger)
    shipper.turn()
    (wish,) = Outputs(ledger.scripts).wishes()
    Outputs(ledger.scripts).take(wish.run, wish.reader)
    assert follower.turn() == []
    now[0] += 5
    follower.turn()
    shipper.turn()
    assert text_of(follower.turn()) == b"last words"


def test_the_last_parcel_lost_is_missed_when_the_mark_behind_it_comes(ledger, home, elsewhere):
    run = Running(ledger, elsewhere)
    run.writes(b"last words")
    run.ends()
    follower = Follower(home, ledger, run.id)
    follower.turn()
    shipper = Shipper(elsewhere, ledger)
    shipper.turn()
    (wish,) = Outputs(ledger.scripts).wishes()
    assert Outputs(ledger.scripts).take(wish.run, wish.reader)
    shipper.turn()  # says that this was all
    got = []
    while not follower.over:
        got += follower.turn()
        shipper.turn()
    assert text_of(got) == b"last words"


def test_a_slow_reader_has_no_more_than_a_window_under_way(ledger, home, elsewhere):
    run = Running(ledger, elsewhere)
    run.writes(b"y" * (3 * UNDER_WAY_BYTES))
    Follower(home, ledger, run.id).turn()
    shipper = Shipper(elsewhere, ledger)
    shipped = [shipper.turn() for _ in range(20)]
    assert max(shipped) <= TURN_BYTES
    assert sum(shipped) == UNDER_WAY_BYTES


def test_what_the_cap_dropped_is_a_gap_on_both_ways(ledger, home, elsewhere):
    for place in (home, elsewhere):
        run = Running(ledger, place, cap_bytes=300)
        run.writes(b"h" * 100 + b"m" * 1000 + b"t" * 50)
        run.ends()
        with agent_of(elsewhere, ledger):
            got = list(follow(home, ledger, run.id))
        gaps = [each for each in got if isinstance(each, Gap)]
        assert text_of(got).startswith(b"h" * 100)
        assert text_of(got).endswith(b"t" * 50)
        assert len(gaps) == 1
        assert sum(gap.end - gap.offset for gap in gaps) == 1150 - len(text_of(got))


def test_the_newest_attempt_is_followed_by_the_next_ones(ledger, home, elsewhere):
    first = Running(ledger, home, node="n1")
    got, thread = read_in_background(home, ledger, first.id)
    first.writes(b"first\n")
    eventually(lambda: text_of(got) == b"first\n", 180, "it is read along before there is another one")
    first.ends(retry_in_s=0.0)
    first.becomes_claimable()
    second = Running(ledger, elsewhere, first.id, attempt=2, node="n2")
    with agent_of(elsewhere, ledger):
        second.writes(b"second\n")
        second.ends()
        thread.join(180)
        assert not thread.is_alive()
    assert [(each.attempt, each.data) for each in got] == [(1, b"first\n"), (2, b"second\n")]


def test_one_attempt_asked_for_is_read_alone(ledger, home):
    first = Running(ledger, home)
    first.writes(b"first\n")
    first.ends(retry_in_s=0.0)
    first.becomes_claimable()
    second = Running(ledger, home, first.id, attempt=2)
    second.writes(b"second\n")
    assert text_of(follow(home, ledger, first.id, attempt=1)) == b"first\n"
    with pytest.raises(BadInput, match="no attempt 3"):
        list(follow(home, ledger, first.id, attempt=3))


def test_what_is_there_now_is_read_without_waiting_for_more(ledger, home, elsewhere):
    for place in (home, elsewhere):
        run = Running(ledger, place)
        run.writes(b"so far\n")
        with agent_of(elsewhere, ledger):
            assert text_of(follow(home, ledger, run.id, until_final=False)) == b"so far\n"


def test_one_stream_alone_can_be_read(ledger, home, elsewhere):
    for place in (home, elsewhere):
        run = Running(ledger, place)
        run.writes(b"out")
        run.writes(b"err", "stderr")
        run.ends()
        with agent_of(elsewhere, ledger):
            got = list(follow(home, ledger, run.id, streams=("stderr",)))
        assert [each.data for each in got] == [b"err"]


def test_a_run_that_was_cancelled_before_it_ran_has_nothing_to_read(ledger, home):
    run_id = ledger.runs.submit(Submission(str(uuid4()), RunSpec(command=["true"])))
    got, thread = read_in_background(home, ledger, run_id)
    ledger.runs.cancel(run_id)
    thread.join(180)
    assert not thread.is_alive()
    assert got == []


def test_a_node_that_keeps_silent_leaves_a_gap_without_end(ledger, home, elsewhere):
    run = Running(ledger, elsewhere)
    run.writes(b"never sent")
    run.ends()
    now = [0.0]
    follower = Follower(home, ledger, run.id, streams=("stdout",), clock=lambda: now[0])
    got = []
    for _ in range(20):
        got += follower.turn()
        now[0] += 1
    assert follower.over
    assert got == [Gap("stdout", 1, 0, None)]


def test_a_gap_is_told_though_the_ledger_was_away_right_when_it_was_found(ledger, home, elsewhere, monkeypatch):
    run = Running(ledger, elsewhere)
    run.writes(b"never sent")
    run.ends()
    now, outages, leave = [0.0], [1], Outputs.leave

    def leaves(box, run_id, reader, place=""):
        if place and outages:
            outages.pop()
            raise FleetUnreachable("away")
        leave(box, run_id, reader, place)

    monkeypatch.setattr(Outputs, "leave", leaves)
    follower = Follower(home, ledger, run.id, streams=("stdout",), clock=lambda: now[0])
    got = []
    for _ in range(20):
        with suppress(FleetUnreachable):
            got += follower.turn()
        now[0] += 1
    assert follower.over
    assert not outages
    assert got == [Gap("stdout", 1, 0, None)]


def test_output_that_this_node_had_and_deleted_is_not_waited_for(ledger, home):
    home.root.mkdir()
    home.node_json.write_text(json.dumps({"name": "n1", "uuid": "u-n1"}))
    run = Running(ledger, home, node="n1")
    run.ends()
    (run.folder.folder / "record.json").unlink()
    pauses: list[float] = []
    assert list(follow(home, ledger, run.id, pause=pauses.append)) == []
    assert sum(pauses) < NODE_SILENT_S


def test_a_run_nobody_knows_is_said_so(ledger, home):
    with pytest.raises(UnknownRun, match="no-such-run"):
        list(follow(home, ledger, "no-such-run"))


def test_without_redis_this_disk_is_still_read_and_then_the_error_comes(ledger, home):
    run = Running(ledger, home)
    run.writes(b"before")
    follower = Follower(home, ledger, run.id)
    assert text_of(follower.turn()) == b"before"
    run.writes(b" and after")
    nowhere = Ledger.at("redis://127.0.0.1:1/0")
    follower.use(nowhere)
    assert text_of(follower.turn()) == b" and after"
    with pytest.raises(FleetUnreachable):
        follower.turn()
    nowhere.close()
    follower.use(ledger)
    run.ends()
    while not follower.over:
        assert follower.turn() == []


@pytest.mark.parametrize(
    "said", ['{"attempt": 1, "offsets": {"stdout": 0}}', '{"attempt": 1, "offsets": [], "place": ""}', "?"]
)
def test_a_wish_in_the_words_of_another_version_keeps_nobody_from_theirs(ledger, home, elsewhere, said):
    run = Running(ledger, elsewhere)
    run.writes(b"mine")
    ledger.scripts.client.sadd(ledger.scripts.key("followed"), f"{run.id} stranger")
    ledger.scripts.client.set(ledger.scripts.key("asked", "stranger", run.id), said)
    follower = Follower(home, ledger, run.id)
    follower.turn()
    Shipper(elsewhere, ledger).turn()
    assert text_of(follower.turn()) == b"mine"
    follower.close()


def test_who_stopped_reading_is_forgotten(ledger, home, elsewhere):
    run = Running(ledger, elsewhere)
    run.writes(b"z")
    follower = Follower(home, ledger, run.id)
    follower.turn()
    Shipper(elsewhere, ledger).turn()
    (wish,) = Outputs(ledger.scripts).wishes()
    box = ledger.scripts.key("out", wish.reader, run.id)
    assert 0 < ledger.scripts.client.ttl(box) <= BOX_KEPT_S
    ledger.scripts.client.delete(ledger.scripts.key("asked", wish.reader, run.id))  # as if it had run out
    assert Outputs(ledger.scripts).wishes() == []
    assert ledger.scripts.client.smembers(ledger.scripts.key("followed")) == set()
    follower.close()
    assert ledger.scripts.client.exists(box) == 0
