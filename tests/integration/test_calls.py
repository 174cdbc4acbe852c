"""`infra_tasks.run`, `get`, `wait`, `cancel`, `stream_logs` on a real Redis; the runs are carried out by the test."""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import pytest
from redis_process import RedisProcess
from run_fleet import fleet_at, spoken_to
from waiting import eventually

import infra_tasks
from infra_tasks import BadInput, BadSpec, OutputLine, RunFailed, RunRevoked, StillGoing, UnknownRun, awaiting
from infra_tasks.model.run import Reason, State


@pytest.fixture
def fleet(shared_fleet, monkeypatch):
    """A fleet whose only node is the test, without a run yet; this process speaks to it."""
    spoken_to(shared_fleet, monkeypatch)
    return shared_fleet


@contextmanager
def beside(do, *args, **options):
    """Call it in a thread of its own; give its future."""
    with ThreadPoolExecutor(1) as threads:
        yield threads.submit(do, *args, **options)


def ended_run(fleet, state=State.SUCCESS, reason=None, **said):
    taken = fleet.takes(fleet.accepts())
    taken.ends(state, reason, **said)
    return taken.id


def test_get_tells_of_a_run_at_every_stage_of_its_life(fleet):
    run_id = fleet.accepts("train", node="n1", name="nightly")
    waiting = infra_tasks.get(run_id)
    assert (waiting.state, waiting.name, waiting.attempt, waiting.started_at) == ("QUEUED", "nightly", 0, None)
    fleet.ledger.claims.renew(patience_s=5, node="n1", uuid="u1", boot_id="b", slots=2, labels="[]", version="0",
                              info="{}", live=[])  # fmt: skip
    taken = fleet.takes(run_id)
    started = infra_tasks.get(run_id)
    assert (started.state, started.node, started.attempt, started.final) == ("STARTED", "n1", 1, False)
    assert started.submitted_at <= started.started_at
    taken.ends(State.FAILURE, Reason.EXIT_CODE, exit_code=3)
    ended = infra_tasks.get(run_id)
    assert (ended.state, ended.reason, ended.exit_code, ended.stdout_tail) == ("FAILURE", "exit_code", 3, "tail\n")
    assert ended.final


def test_a_run_is_named_by_its_id_a_beginning_of_it_or_what_has_its_id(fleet):
    run_id = fleet.accepts()
    whole = infra_tasks.get(run_id)
    assert infra_tasks.get(run_id[:6]) == infra_tasks.get(whole) == whole
    with pytest.raises(UnknownRun, match="no run begins with 'zz'"):
        infra_tasks.get("zz")
    with pytest.raises(BadInput, match="a run is named by its id"):
        infra_tasks.get(5)


def test_wait_gives_runs_in_the_order_asked_for_and_raises_for_none_that_failed(fleet):
    first, second = (fleet.takes(fleet.accepts()) for _ in range(2))
    second.ends(State.FAILURE, Reason.EXIT_CODE, exit_code=2)
    with beside(infra_tasks.wait, [first.id[:9], second.id, first.id]) as waiting:
        first.ends()
        ended = waiting.result(180)
    assert [one.id for one in ended] == [first.id, second.id, first.id]
    assert [one.state for one in ended] == ["SUCCESS", "FAILURE", "SUCCESS"]
    assert infra_tasks.wait(first.id) == ended[0]
    assert infra_tasks.wait([]) == []


def test_wait_says_after_its_time_which_runs_go_on_and_how_long_it_waited(fleet):
    done, going = ended_run(fleet), fleet.accepts()
    with pytest.raises(StillGoing, match=rf"^1 of 2 runs are still going after 0.2 s of waiting: {going};") as raised:
        infra_tasks.wait([done, going], timeout_s=0.2)
    assert raised.value.ids == [going]


def test_runs_come_as_they_end_and_the_time_for_all_of_them_counts_from_the_call(fleet):
    first, second = (fleet.takes(fleet.accepts()) for _ in range(2))
    second.ends()
    ends = infra_tasks.as_completed([first.id, second.id[:9]])
    assert next(ends).id == second.id
    first.ends()
    assert [one.id for one in ends] == [first.id]
    with pytest.raises(StillGoing, match=r"^1 of 2 runs are still going after 0.1 s"):
        list(infra_tasks.as_completed([first.id, fleet.accepts()], timeout_s=0.1))


def test_runs_that_have_ended_already_take_no_time_however_many_there_are(fleet, monkeypatch):
    monkeypatch.setattr(awaiting, "TOLD_AT_ONCE", 2)
    ids = [infra_tasks.cancel(fleet.accepts()).id for _ in range(5)]
    assert [one.id for one in infra_tasks.wait(ids, timeout_s=0)] == ids


def test_waiting_for_a_run_that_is_not_there_ends_at_once(fleet):
    with pytest.raises(UnknownRun):
        infra_tasks.wait([fleet.accepts(), "no-such-run"])


def test_waiting_and_reading_go_on_through_an_outage_of_redis(tmp_path, monkeypatch, caplog):
    caplog.set_level(logging.WARNING, "infra_tasks")
    monkeypatch.setenv("INFRA_HOME", str(tmp_path / "home"))
    server, got = RedisProcess(tmp_path / "redis").start(), []
    try:
        fleet = next(made := fleet_at(tmp_path / "home", server.url))
        taken = fleet.takes(fleet.accepts())
        with (
            beside(infra_tasks.wait, taken.id) as waiting,
            beside(lambda: got.extend(infra_tasks.stream_logs(taken.id))) as reading,
        ):
            taken.writes(b"before\n")
            eventually(lambda: got, said="the first line has come")
            server.kill()
            taken.writes(b"during\n")
            eventually(lambda: caplog.text.count("does not answer") == 2, 30, "both have noticed")
            server.start()
            taken.ends()
            assert waiting.result(180).state == "SUCCESS"
            reading.result(180)
        made.close()
    finally:
        server.kill()
    assert [line.text for line in got] == ["before", "during"]


def test_run_streams_lines_in_order_and_returns_how_it_ended(fleet):
    got = []
    with beside(infra_tasks.run, {"command": ["train"]}, got.append) as running:
        taken = fleet.takes(fleet.waiting_run())
        taken.writes(b"one\ntw")
        eventually(lambda: got, said="the first line has come while the run goes on")
        assert got == [OutputLine("stdout", 1, "one")]
        taken.writes(b"o\n\xff")
        taken.writes(b"oh\n", "stderr")
        taken.ends(exit_code=0)
        info = running.result(180)
    assert (info.id, info.state, info.exit_code) == (taken.id, "SUCCESS", 0)
    assert [line.text for line in got if line.stream == "stdout"] == ["one", "two", "�"]
    assert [line.text for line in got if line.stream == "stderr"] == ["oh"]


def test_run_raises_how_a_run_failed(fleet):
    with beside(infra_tasks.run, {"command": ["train"]}) as running:
        taken = fleet.takes(fleet.waiting_run())
        taken.ends(State.FAILURE, Reason.EXIT_CODE, "exit code 3", exit_code=3)
        error = running.exception(180)
    assert isinstance(error, RunFailed)
    assert taken.id in str(error)
    assert error.result["exit_code"] == 3
    assert not hasattr(error, "__notes__"), "there is nothing to add"


def test_run_returns_a_failed_run_where_that_is_wanted(fleet):
    with beside(infra_tasks.run, {"command": ["train"]}, check=False) as running:
        fleet.takes(fleet.waiting_run()).ends(State.FAILURE, Reason.EXIT_CODE, exit_code=3)
        assert running.result(180).exit_code == 3


def test_a_wrong_spec_is_refused_before_anything_runs(fleet):
    with pytest.raises(BadSpec, match="comand"):
        infra_tasks.run({"comand": ["train"]})
    assert not fleet.ledger.runs.recent(1)


def test_who_waits_no_more_leaves_the_run_alone_and_is_told_its_id(fleet):
    with pytest.raises(StillGoing, match=r"is still going after 0.1 s") as raised:
        infra_tasks.run({"command": ["train"]}, timeout_s=0.1)
    (run,) = fleet.ledger.runs.recent(1)
    assert raised.value.ids == [run.id]
    assert raised.value.__notes__ == [
        f"run {run.id} goes on; `infra cancel {run.id}` or infra_tasks.cancel('{run.id}') ends it"
    ]
    assert (run.state, run.cancel) == ("QUEUED", "")


@pytest.mark.parametrize("cancel", [False, True])
def test_a_ctrl_c_in_between_ends_the_run_only_if_that_was_wanted(fleet, cancel):
    def interrupted(_line):
        raise KeyboardInterrupt

    def call():
        try:
            infra_tasks.run({"command": ["train"]}, interrupted, cancel_on_interrupt=cancel)
        except KeyboardInterrupt as error:
            return error.__notes__

    with beside(call) as running:
        taken = fleet.takes(fleet.waiting_run())
        taken.writes(b"one\n")
        (note,) = running.result(180)
    assert taken.id in note
    assert infra_tasks.get(taken.id).cancel_asked is cancel
    assert ("asked to stop" in note) is cancel


def test_cancel_ends_what_waits_and_asks_what_runs(fleet):
    waiting, running = fleet.accepts(), fleet.takes(fleet.accepts())
    assert infra_tasks.cancel(waiting[:9]).state == "REVOKED"
    asked = infra_tasks.cancel(running.id, kill=True)
    assert (asked.state, asked.cancel_asked) == ("STARTED", True)
    with pytest.raises(RunRevoked, match="was cancelled"):
        infra_tasks.get(waiting).check()
    with pytest.raises(UnknownRun):
        infra_tasks.cancel("zz")


def test_a_run_gets_more_time_up_to_the_ceiling(fleet):
    run_id = fleet.accepts(timeout_s=60.0)
    assert infra_tasks.extend(run_id[:9], 30).timeout_s == 90
    with pytest.raises(BadInput, match="above the fleet's ceiling"):
        infra_tasks.extend(run_id, 1e6)


def test_a_run_that_has_ended_is_run_once_more_as_a_new_one(fleet):
    going, ended = fleet.accepts(), ended_run(fleet)
    again = infra_tasks.retry(ended[:9])
    assert (again.retry_of, again.state, again.spec) == (ended, "QUEUED", infra_tasks.get(ended).spec)
    with pytest.raises(BadInput, match="only a final run can be run again"):
        infra_tasks.retry(going)


def test_logs_are_read_as_far_as_they_are_wanted(fleet):
    taken = fleet.takes(fleet.accepts(retries=1))
    taken.writes(b"1\n2\n3\n")
    taken.writes(b"oh\n", "stderr")

    def read(**wanted):
        return [line.text for line in infra_tasks.stream_logs(taken.id[:9], follow=False, **wanted)]

    assert sorted(read()) == ["1", "2", "3", "oh"]
    assert read(stream="stderr", attempt=1) == ["oh"]
    assert read(stream="stdout", tail=1) == ["3"]
    assert read(stream="stdout", since=datetime.now(UTC) - timedelta(hours=1)) == ["1", "2", "3"]
    assert read(since=datetime.now(UTC) + timedelta(hours=1)) == []
    with pytest.raises(BadInput, match="has no attempt 2"):
        read(attempt=2)


@pytest.mark.parametrize("wrong", [{"stream": "stdin"}, {"attempt": 0}, {"tail": -1}, {"since": "yesterday"}])
def test_a_wrong_wish_of_logs_is_refused_by_name(fleet, wrong):
    with pytest.raises(BadInput, match=next(iter(wrong))):
        list(infra_tasks.stream_logs(fleet.accepts(), follow=False, **wrong))
