"""Outputs of runs on their way to a home that is the node itself: by the worker, by the agent; real shims, folders."""

from __future__ import annotations

import os
import time
from threading import Event, Thread
from typing import TYPE_CHECKING, Any

import pytest
from outputs_rig import Rig, held
from waiting import eventually

from infra_tasks import execute, gather, live
from infra_tasks.errors import FleetUnreachable
from infra_tasks.ledger.bringing import HERE
from infra_tasks.outputs import shelf
from infra_tasks.outputs.collect import AtWork
from infra_tasks.runner.attempt import Attempt
from workers import gathering

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from redis_process import RedisProcess

    from infra_tasks.ledger import Ledger


@pytest.fixture
def rig(tmp_path: Path, ledger: Ledger, redis_process: RedisProcess) -> Iterator[Rig]:
    made = Rig(tmp_path, ledger, redis_process.url)
    yield made
    made.zygote.close()


def test_outputs_of_a_run_are_in_their_folder_and_in_its_result(rig: Rig):
    result = rig.run("mkdir out; echo hi > out/a.txt; echo x > b", "out/*.txt", "c", name="makes")
    outputs = result["outputs"]
    assert outputs["folder"] == str(rig.home.runs / result["id"] / "outputs")
    assert held(outputs["folder"]) == {"out/a.txt": "hi\n"}
    assert [one["path"] for one in outputs["files"]] == ["out/a.txt"]
    assert {name: outputs[name] for name in ("count", "size_bytes", "missing", "node", "home", "brought", "error")} == {
        "count": 1, "size_bytes": 3, "missing": ["c"], "node": "n1", "home": "n1", "brought": True, "error": None,
    }  # fmt: skip
    assert rig.result(result["id"]) == result


ENDS = {
    "exit code": ("exit 3", {}, ("FAILURE", "exit_code")),
    "signal": ("kill -9 $$", {}, ("FAILURE", "signal")),
    "timeout": ("sleep 60", {"timeout_s": 5, "grace_s": 0}, ("FAILURE", "timeout")),
}


@pytest.mark.parametrize("end", ENDS)
def test_a_run_that_failed_has_outputs_as_well(rig: Rig, end: str):
    command, spec, told = ENDS[end]
    result = rig.run(f"echo hi > a; {command}", "a", **spec)
    assert (result["state"], result["reason"]) == told
    assert held(result["outputs"]["folder"]) == {"a": "hi\n"}


def test_a_run_that_was_cancelled_has_outputs_as_well(rig: Rig):
    run_id = rig.submit("echo hi > a; sleep 60", "a", grace_s=0)
    child = Thread(target=rig.executor.follow, args=(run_id,))
    child.start()
    attempt = Attempt(rig.home.attempt(run_id, 1))
    eventually((attempt.scratch / "a").exists, 30, "it runs")
    rig.ledger.runs.cancel(run_id)
    attempt.order(stop="cancel")  # what the agent does
    child.join(180)
    result = rig.result(run_id)
    assert result["state"] == "REVOKED"
    assert held(result["outputs"]["folder"]) == {"a": "hi\n"}


def test_nothing_is_said_of_outputs_nobody_asked_for_or_of_what_never_started(rig: Rig):
    assert rig.run("echo hi > a")["outputs"] is None
    never = rig.run(["/no/such/program"], "a")
    assert (never["reason"], never["outputs"]) == ("start_failed", None)
    waiting = rig.submit("true", "a")
    rig.ledger.runs.cancel(waiting)
    assert rig.result(waiting)["outputs"] is None
    assert not (rig.home.runs / never["id"] / "outputs").exists()
    plain = rig.home.runs / rig.run("true")["id"] / "1"
    assert not [path.name for path in plain.iterdir() if path.name.startswith("outputs")]


def test_the_outputs_of_a_retry_replace_those_of_the_attempt_before(rig: Rig):
    command = "echo $INFRA_ATTEMPT > of-$INFRA_ATTEMPT; echo $INFRA_ATTEMPT > same; test $INFRA_ATTEMPT = 2"
    run_id = rig.submit(command, "*", retries=1, retry_backoff_s=0)
    assert rig.executor.follow(run_id).said == "dropped"
    folder = rig.home.runs / run_id / "outputs"
    assert held(folder) == {"of-1": "1\n", "same": "1\n"}
    eventually(lambda: rig.ledger.claims.sweep("n1") and rig.ledger.runs.peek(run_id)[0] == "QUEUED", 30, "goes again")
    result = rig.executor.follow(run_id).result
    assert (result["state"], result["attempt"], result["outputs"]["folder"]) == ("SUCCESS", 2, str(folder))
    assert held(folder) == {"of-2": "2\n", "same": "2\n"}


def test_an_attempt_whose_shim_dies_goes_again_and_its_outputs_are_nobodys(rig: Rig):
    run_id = rig.submit('echo $INFRA_ATTEMPT > a; test "$INFRA_ATTEMPT" = 2 || kill -9 $PPID; sleep 0.1', "a")
    rig.executor.follow(run_id)
    eventually(rig.turn_of_the_agent, 30, "its end is reported")
    assert rig.ledger.runs.peek(run_id) == ("QUEUED", 1)
    assert not (rig.home.runs / run_id / "outputs").exists()
    result = rig.executor.follow(run_id).result
    assert held(result["outputs"]["folder"]) == {"a": "2\n"}


def test_more_files_than_a_result_holds_are_counted_and_all_there(rig: Rig):
    result = rig.run("for n in $(seq 1100); do echo $n > $n.txt; done", "*.txt")
    outputs = result["outputs"]
    assert (len(outputs["files"]), outputs["count"], outputs["size_bytes"]) == (1000, 1100, 4393)
    assert len(held(outputs["folder"])) == 1100
    assert len((shelf.there(rig.home, result["id"]) or {})["files"]) == 1100


def ended_and_left(rig: Rig, monkeypatch: pytest.MonkeyPatch, command: str, *outputs: str, **more: Any) -> str:
    """Let a run end whose worker dies at that moment."""

    def dies(*_: object) -> None:
        raise FleetUnreachable("its worker is dead")

    run_id = rig.submit(command, *outputs, **more)
    with monkeypatch.context() as patched:
        patched.setattr(execute, "gather_at_last", dies)
        with pytest.raises(FleetUnreachable):
            rig.executor.follow(run_id)
    return run_id


def test_what_nobody_waits_for_the_agent_gathers_and_reports(rig: Rig, monkeypatch: pytest.MonkeyPatch):
    many = [ended_and_left(rig, monkeypatch, f"echo {n} > a; exit {n}", "a") for n in range(3)]
    eventually(rig.turn_of_the_agent, 30, "all is reported")
    for n, run_id in enumerate(many):
        result = rig.result(run_id)
        assert (result["exit_code"], held(result["outputs"]["folder"])) == (n, {"a": f"{n}\n"})


def test_a_turn_of_the_agent_waits_for_no_outputs(rig: Rig, monkeypatch: pytest.MonkeyPatch):
    slow, go_on = ended_and_left(rig, monkeypatch, "echo 1 > a", "a"), Event()
    plain, gathers = gathering.gather, gather.gather

    def waits(*args: Any) -> Any:
        assert go_on.wait(400)
        return gathers(*args)

    assert plain is gathers
    monkeypatch.setattr(gathering, "gather", waits)
    other = rig.submit("true")
    monkeypatch.setattr(execute, "report", lambda *_a, **_k: {"said": "fenced", "state": ""})
    rig.executor.follow(other)
    eventually(lambda: rig.turn_of_the_agent() or rig.ledger.runs.peek(other)[0] == "SUCCESS", 30, "the other is told")
    assert rig.ledger.runs.peek(slow)[0] == "STARTED"
    go_on.set()
    eventually(rig.turn_of_the_agent, 30, "the slow one is told as well")
    assert held(rig.result(slow)["outputs"]["folder"]) == {"a": "1\n"}


def test_an_end_is_reported_though_its_outputs_cannot_be_gathered(rig: Rig, monkeypatch: pytest.MonkeyPatch):
    def breaks(*_: object) -> None:
        raise ValueError("a defect")

    run_id = ended_and_left(rig, monkeypatch, "echo 1 > a; exit 4", "a")
    monkeypatch.setattr(gathering, "gather", breaks)
    eventually(rig.turn_of_the_agent, 30, "it is told")
    result = rig.result(run_id)
    assert (result["exit_code"], result["outputs"]["brought"]) == (4, False)
    assert "could not be gathered" in result["outputs"]["error"]


def test_an_end_is_reported_though_who_gathers_stands_still(rig: Rig, monkeypatch: pytest.MonkeyPatch):
    run_id = ended_and_left(rig, monkeypatch, "echo 1 > a", "a")
    attempt = Attempt(rig.home.attempt(run_id, 1))
    frozen = AtWork.begin(attempt)
    assert frozen is not None
    with frozen:
        rig.turn_of_the_agent()
        assert rig.ledger.runs.peek(run_id)[0] == "STARTED"
        monkeypatch.setattr(gather, "LOOK_AGAIN_AFTER_S", 0.1)
        seems_silent(attempt)
        eventually(rig.turn_of_the_agent, 30, "it is told")
    assert "stands still" in rig.result(run_id)["outputs"]["error"]


def seems_silent(attempt: Attempt) -> None:
    """Let it look as if nobody had been at work for long."""
    long_ago = time.time() - gather.STUCK_AFTER_S - 1
    os.utime(attempt.folder / "outputs.lock", (long_ago, long_ago))


@pytest.mark.parametrize("goes_on", [True, False])
def test_after_a_sleep_of_the_machine_nobody_is_taken_for_frozen(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, *, goes_on: bool
):
    run_id = ended_and_left(rig, monkeypatch, "echo 1 > a", "a")
    (entry,) = live.attempts(rig.home)
    monkeypatch.setattr(gather, "LOOK_AGAIN_AFTER_S", 5.0)
    found: list[Any] = []
    arguments = (rig.here.current(), rig.ledger, entry.token, entry.folder)
    looks = Thread(target=lambda: found.append(gather.gather(*arguments)))
    at_work = AtWork.begin(entry.folder)
    assert at_work is not None
    with at_work:
        seems_silent(entry.folder)
        looks.start()
        looks.join(0.3)
        if goes_on:
            os.utime(entry.folder.folder / "outputs.lock")  # its next beat
            looks.join(180)
    looks.join(180)
    assert found == [None]
    eventually(rig.turn_of_the_agent, 30, "it is told")
    assert held(rig.result(run_id)["outputs"]["folder"]) == {"a": "1\n"}


def test_an_end_waits_for_no_outputs_of_other_runs(rig: Rig, monkeypatch: pytest.MonkeyPatch):
    rig.n2_speaks()  # and fetches nothing
    monkeypatch.setattr(gather, "HOME_PATIENCE_S", 600.0)
    slow = ended_and_left(rig, monkeypatch, "echo 1 > a", "a", at=rig.other)
    rig.turn_of_the_agent()
    eventually(lambda: rig.turn_of_the_agent() or rig.asked(), 30, "n2 is asked, and waited for")
    quick = ended_and_left(rig, monkeypatch, "echo 2 > a", "a")
    eventually(lambda: rig.turn_of_the_agent() or rig.ledger.runs.peek(quick)[0] == "SUCCESS", 20, "the other is told")
    assert rig.ledger.runs.peek(slow)[0] == "STARTED"
    rig.ledger.bringing.note(slow, 1, HERE, folder="/there")
    eventually(rig.turn_of_the_agent, 30, "and this one when its outputs are at home")
    assert rig.result(slow)["outputs"]["brought"] is True


def test_the_agent_lets_a_worker_that_has_gathered_report(rig: Rig, monkeypatch: pytest.MonkeyPatch):
    run_id = ended_and_left(rig, monkeypatch, "echo 1 > a", "a")
    (entry,) = live.attempts(rig.home)
    gather.gather_at_last(rig.here.current(), rig.ledger, entry.token, entry.folder)
    done = entry.folder.folder / gather.DONE
    soon = time.time() + 600
    os.utime(done, (soon, soon))
    gatherer = gathering.Gatherer(rig.here.current, rig.ledger)

    def turn() -> gather.Gathered | None:
        gatherer.keep([entry.token])
        return gatherer.gathered(entry)

    for _ in range(5):
        assert turn() is None
        eventually(lambda: not gatherer._threads[entry.token].is_alive(), 30, "it has looked")
    os.utime(done, (1, 1))
    gathered = eventually(turn, 30, "the worker must be dead")
    assert gathered.outputs["folder"] == str(rig.home.runs / run_id / "outputs")


def test_a_worker_that_comes_while_the_agent_gathers_waits_for_what_it_finds(rig: Rig, monkeypatch: pytest.MonkeyPatch):
    run_id = ended_and_left(rig, monkeypatch, "echo 1 > a", "a")
    (entry,) = live.attempts(rig.home)
    agent = AtWork.begin(entry.folder)
    assert agent is not None
    found: list[Any] = []
    with agent:
        arguments = (rig.here.current(), rig.ledger, entry.token, entry.folder)
        worker = Thread(target=lambda: found.append(gather.gather_at_last(*arguments)))
        worker.start()
        worker.join(0.5)
        assert not found
    worker.join(180)
    assert found[0]["folder"] == str(rig.home.runs / run_id / "outputs")
