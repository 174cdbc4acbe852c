"""Outputs of runs on their way home: real ledger, folders and shims; a second node's folder is a home elsewhere."""

from __future__ import annotations

import errno
import json
import os
import time
from pathlib import Path
from threading import Event, Thread
from typing import TYPE_CHECKING, Any

import pytest
from waiting import eventually

from infra_tasks import execute, fetch, gather, live
from infra_tasks.errors import FleetUnreachable, NodeUnreachable
from infra_tasks.execute import Executor
from infra_tasks.fetch import Fetcher
from infra_tasks.ledger.bringing import HERE
from infra_tasks.model.hint import FETCH_TASK, fetch_asked
from infra_tasks.node import NodeHere
from infra_tasks.outputs import shelf
from infra_tasks.outputs.collect import AtWork
from infra_tasks.releases.remote.fetch import fetch_files
from infra_tasks.runner.attempt import Attempt
from infra_tasks.runner.launch import Zygote
from infra_tasks.settings import Home
from infra_tasks.submit import submission
from workers import gathering, keeping
from workers.keeping import Keeper
from workers.minding import Minder

if TYPE_CHECKING:
    from collections.abc import Iterator

    from redis_process import RedisProcess

    from infra_tasks.ledger import Ledger


class Rig:
    """Two nodes of a fleet: n1 carries runs out, without Celery, and n2 may be their home."""

    def __init__(self, root: Path, ledger: Ledger, broker: str) -> None:
        self.homes = {name: Home(root / name) for name in ("n1", "n2")}
        self.home, self.other = self.homes["n1"], self.homes["n2"]
        nodes = {
            name: {"ssh": "local", "root": str(home.root), "slots": 8, "labels": []}
            for name, home in self.homes.items()
        }
        for home in self.homes.values():
            home.root.mkdir()
            home.nodes_json.write_text(json.dumps({"fleet": "t", "broker": broker, "nodes": nodes}))
        self.ledger = ledger
        self.zygote = Zygote()
        self.here = NodeHere(self.home)
        self.executor = Executor(self.here.current, ledger, self.zygote)
        self.minder = Minder(self.home, ledger, "n1")
        self.queue = "dispatch.n2"
        ledger.scripts.client.delete(self.queue)

    def submit(self, command: str | list[str], *outputs: str, at: Home | None = None, **spec: Any) -> str:
        said = {"command": command, "node": "n1", **({"outputs": list(outputs)} if outputs else {}), **spec}
        return self.ledger.runs.submit(submission(said, self.here.current().fleet, home=at or self.home))

    def run(self, command: str | list[str], *outputs: str, **more: Any) -> dict[str, Any]:
        return self.executor.follow(self.submit(command, *outputs, **more)).result

    def turn_of_the_agent(self) -> bool:
        """Make one; True when nothing is left to report."""
        entries = list(live.attempts(self.home))
        self.minder.run_once(entries)
        self.minder.report_ended(entries)
        return not list(live.attempts(self.home))

    def result(self, run_id: str) -> dict[str, Any]:
        found = self.ledger.runs.get(run_id)
        assert found is not None
        assert found.result is not None
        return found.result

    def asked(self) -> list[tuple[str, int, str]]:
        """Take what n2 was asked to fetch out of its queue."""
        texts = self.ledger.scripts.client.lpop(self.queue, 100) or []
        heads = [json.loads(text)["headers"] for text in texts]
        assert {head["task"] for head in heads} <= {FETCH_TASK}
        return [fetch_asked(head["id"]) for head in heads]

    def fetcher(self, carry: fetch.Carrier = fetch_files) -> Fetcher:
        return Fetcher(NodeHere(self.other).current, self.ledger, carry)

    def n2_speaks(self) -> None:
        self.ledger.claims.renew(
            patience_s=5, node="n2", uuid="u2", boot_id="b", slots=2, labels="[]", version="0", info="{}", live=[]
        )


@pytest.fixture
def rig(tmp_path: Path, ledger: Ledger, redis_process: RedisProcess) -> Iterator[Rig]:
    made = Rig(tmp_path, ledger, redis_process.url)
    yield made
    made.zygote.close()


def held(folder: Path | str) -> dict[str, str]:
    return {os.path.relpath(path, folder): path.read_text() for path in Path(folder).rglob("*") if path.is_file()}


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
    "timeout": ("sleep 60", {"timeout_s": 0.5, "grace_s": 0}, ("FAILURE", "timeout")),
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
    child.join(30)
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
        assert go_on.wait(60)
        return gathers(*args)

    assert plain is gathers
    monkeypatch.setattr(gathering, "gather", waits)
    other = rig.submit("true")
    monkeypatch.setattr(execute, "report", lambda *_a, **_k: {"said": "fenced", "state": ""})
    rig.executor.follow(other)
    began = time.monotonic()
    eventually(lambda: rig.turn_of_the_agent() or rig.ledger.runs.peek(other)[0] == "SUCCESS", 30, "the other is told")
    assert rig.ledger.runs.peek(slow)[0] == "STARTED"
    assert time.monotonic() - began < 20
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
    monkeypatch.setattr(gather, "LOOK_AGAIN_AFTER_S", 1.0)
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
            looks.join(30)
    looks.join(30)
    assert found == [None]
    eventually(rig.turn_of_the_agent, 30, "it is told")
    assert held(rig.result(run_id)["outputs"]["folder"]) == {"a": "1\n"}


def test_an_end_waits_for_no_outputs_of_other_runs(rig: Rig, monkeypatch: pytest.MonkeyPatch):
    rig.n2_speaks()  # and fetches nothing
    monkeypatch.setattr(gather, "HOME_PATIENCE_S", 60.0)
    slow = ended_and_left(rig, monkeypatch, "echo 1 > a", "a", at=rig.other)
    rig.turn_of_the_agent()
    eventually(lambda: rig.turn_of_the_agent() or rig.asked(), 30, "n2 is asked, and waited for")
    quick = ended_and_left(rig, monkeypatch, "echo 2 > a", "a")
    eventually(lambda: rig.turn_of_the_agent() or rig.ledger.runs.peek(quick)[0] == "SUCCESS", 20, "the other is told")
    assert rig.ledger.runs.peek(slow)[0] == "STARTED"
    rig.ledger.bringing.note(slow, 1, HERE, folder="/there")
    eventually(rig.turn_of_the_agent, 30, "and this one when its outputs are at home")
    assert rig.result(slow)["outputs"]["brought"] is True


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
    worker.join(30)
    assert found[0]["folder"] == str(rig.home.runs / run_id / "outputs")


# A home elsewhere.


def test_a_home_that_is_down_is_asked_and_not_waited_for(rig: Rig):
    result = rig.run("echo hi > a", "a", at=rig.other)
    outputs = result["outputs"]
    assert (outputs["brought"], outputs["home"], outputs["node"]) == (False, "n2", "n1")
    assert outputs["folder"] == str(rig.other.runs / result["id"] / "outputs")
    assert "n2 has not fetched them" in outputs["error"]
    assert [one["path"] for one in outputs["files"]] == ["a"]
    assert rig.asked() == [("n1", 1, result["id"])]


def fetched(rig: Rig, *asked: tuple[str, int, str]) -> None:
    for one in asked:
        fetch.want(rig.other, *one)
    fetcher = rig.fetcher()
    while fetcher.run_once(time.monotonic()):
        pass


def test_what_was_not_fetched_in_time_comes_when_the_home_is_back(rig: Rig):
    result = rig.run("mkdir -p out; echo hi > 'out/two\nlines'", "out", at=rig.other)
    asked = rig.asked()
    fetched(rig, *asked, *asked)
    assert held(result["outputs"]["folder"]) == {"out/two\nlines": "hi\n"}
    assert (shelf.there(rig.other, result["id"]) or {})["node"] == "n1"
    told = {"said": HERE, "node": "n1", "folder": result["outputs"]["folder"]}
    assert rig.ledger.bringing.said(result["id"], 1) == told
    assert not list(rig.other.fetch.iterdir())
    assert [path.name for path in (rig.other.runs / result["id"]).iterdir() if path.is_dir()] == ["outputs"]


def test_an_attempt_whose_number_was_given_twice_is_not_taken_for_the_other(rig: Rig):
    """A ledger that lost writes gives the number again, to another node, when the first outputs are at home already."""
    rig.n2_speaks()
    run_id = rig.submit("echo mine > a", "a", at=rig.other)
    forgotten = rig.other.root / "forgotten"
    forgotten.mkdir()
    (forgotten / "a").write_text("of n9")
    listed = {"node": "n9", "attempt": 1, "files": [], "missing": [], "left_out": [], "error": None}
    place = shelf.place(rig.other, run_id, forgotten, listed)
    rig.ledger.bringing.note(run_id, 1, HERE, node="n9", folder=str(place))
    child = Thread(target=rig.executor.follow, args=(run_id,))
    child.start()
    asked = eventually(rig.asked, 30, "n2 is asked, and waited for")
    fetched(rig, *asked)
    child.join(30)
    assert rig.result(run_id)["outputs"]["brought"] is True
    assert held(place) == {"a": "mine\n"}


def test_a_run_ends_when_its_home_has_fetched_its_outputs(rig: Rig):
    rig.n2_speaks()
    over = Event()

    def control() -> None:
        fetcher = rig.fetcher()
        while not over.wait(0.02):
            for one in rig.asked():
                fetch.want(rig.other, *one)
            fetcher.run_once(time.monotonic())

    thread = Thread(target=control)
    thread.start()
    try:
        result = rig.run("echo hi > a", "a", "b", at=rig.other)
    finally:
        over.set()
        thread.join()
    outputs = result["outputs"]
    assert (outputs["brought"], outputs["error"], outputs["missing"]) == (True, None, ["b"])
    assert held(outputs["folder"]) == {"a": "hi\n"}


def test_a_home_is_waited_for_while_it_gets_on_and_not_for_ever(rig: Rig, monkeypatch: pytest.MonkeyPatch):
    rig.n2_speaks()
    monkeypatch.setattr(gather, "HOME_PATIENCE_S", 1.0)
    run_id, over = rig.submit("echo hi > a", "a", at=rig.other), Event()

    def gets_on() -> None:
        for step in range(12):
            rig.ledger.bringing.note(run_id, 1, "coming", size_bytes=step)
            over.wait(0.25)

    thread = Thread(target=gets_on)
    thread.start()
    began = time.monotonic()
    outputs = rig.executor.follow(run_id).result["outputs"]
    thread.join()
    assert time.monotonic() - began > 3
    assert outputs["brought"] is False
    assert "in time" in outputs["error"]


def test_a_cancel_ends_the_wait_for_a_home(rig: Rig, monkeypatch: pytest.MonkeyPatch):
    rig.n2_speaks()  # and fetches nothing
    monkeypatch.setattr(gather, "HOME_PATIENCE_S", 60.0)
    run_id = rig.submit("echo hi > a", "a", at=rig.other)
    child = Thread(target=rig.executor.follow, args=(run_id,))
    child.start()
    eventually(rig.asked, 30, "n2 is asked, and waited for")
    rig.ledger.runs.cancel(run_id)
    Attempt(rig.home.attempt(run_id, 1)).order(stop="cancel", kill=False)  # what the agent does
    child.join(20)
    assert not child.is_alive()
    result = rig.result(run_id)
    assert (result["state"], result["outputs"]["brought"]) == ("SUCCESS", False)


def test_a_fetch_that_fails_is_told_and_tried_again(rig: Rig):
    rig.n2_speaks()
    tries: list[str] = []

    def carry(*args: Any) -> None:
        tries.append(args[2])
        if len(tries) < 2:
            raise NodeUnreachable("n1 (a@b:22) cannot be reached over ssh: no route")
        fetch_files(*args)

    fetcher, over, run_id = rig.fetcher(carry), Event(), rig.submit("echo hi > a", "a", at=rig.other)

    def control() -> None:
        while not tries and not over.wait(0.02):
            for one in rig.asked():
                fetch.want(rig.other, *one)
            fetcher.run_once(time.monotonic())

    thread = Thread(target=control)
    thread.start()
    outputs = rig.executor.follow(run_id).result["outputs"]
    over.set()
    thread.join()
    assert (outputs["brought"], "no route" in outputs["error"]) == (False, True)
    assert not fetcher.run_once(time.monotonic())  # not at once
    assert fetcher.run_once(time.monotonic() + fetch.FIRST_PAUSE_S + 1)
    assert held(outputs["folder"]) == {"a": "hi\n"}


def test_what_arrives_otherwise_than_it_was_made_is_not_taken(rig: Rig):
    result = rig.run("echo hi > a; echo ho > b", "*", at=rig.other)
    place = rig.other.runs / result["id"]

    def carry(*args: Any) -> None:
        fetch_files(*args)
        if args[4] != ["outputs.json"]:
            (args[5] / "b").write_text("no")

    for one in rig.asked():
        fetch.want(rig.other, *one)
    assert rig.fetcher(carry).run_once(time.monotonic())
    assert "another content" in rig.ledger.bringing.said(result["id"], 1)["error"]
    assert not (place / "outputs").exists()
    (place / ".outputs.1" / "outputs" / "a").touch()
    carried: list[Any] = []

    def watched(*args: Any) -> None:
        carried.append(args[4])
        fetch_files(*args)

    rig.fetcher(watched).run_once(time.monotonic())
    assert carried == [["outputs.json"], ["b"]]  # what came right is not sent again
    assert held(place / "outputs") == {"a": "hi\n", "b": "ho\n"}


def test_what_a_killed_transfer_left_is_no_output(rig: Rig):
    result = rig.run("mkdir o; echo hi > o/a", "o", at=rig.other)
    half = rig.other.runs / result["id"] / ".outputs.1" / "outputs" / "o"
    half.mkdir(parents=True)
    (half / ".a.Xy12ab").write_text("h")  # rsync's own name for what is on its way
    fetched(rig, *rig.asked())
    assert held(result["outputs"]["folder"]) == {"o/a": "hi\n"}


def test_a_node_that_cannot_be_reached_holds_up_nobody_who_waits(rig: Rig):
    gone = rig.run("echo 1 > a", "a", at=rig.other)
    gone_asked = rig.asked()
    tried: list[str] = []

    def carry(*args: Any) -> None:
        tried.append(args[3].split("/")[1])
        if tried[-1] == gone["id"]:
            raise NodeUnreachable("n1 (a@b:22) cannot be reached over ssh: no route")
        fetch_files(*args)

    fetcher = rig.fetcher(carry)
    fetch.want(rig.other, *gone_asked[0])
    assert fetcher.run_once(time.monotonic())
    waits = rig.run("echo 2 > a", "a", at=rig.other)
    fetch.want(rig.other, *rig.asked()[0])
    assert fetcher.run_once(time.monotonic() + 3600)  # both are due
    assert tried[0] == gone["id"]
    assert set(tried[1:]) == {waits["id"]}


@pytest.mark.parametrize("evil", ["../../evil", "/tmp/evil", "a/../../evil", ""])
def test_a_list_that_leads_out_of_the_folder_is_refused(rig: Rig, evil: str):
    result = rig.run("echo hi > a", "a", at=rig.other)
    listed = rig.home.attempt(result["id"], 1) / "outputs.json"
    said = json.loads(listed.read_text())
    said["files"][0]["path"] = evil
    listed.write_text(json.dumps(said))
    fetched(rig, *rig.asked())
    assert rig.ledger.bringing.said(result["id"], 1)["said"] == "failed"
    assert not (rig.other.runs / result["id"] / "outputs").exists()


def test_a_full_disk_forgets_no_outputs_that_are_wanted(rig: Rig, monkeypatch: pytest.MonkeyPatch):
    result = rig.run("echo hi > a", "a", at=rig.other)

    def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    fetcher = rig.fetcher()
    with monkeypatch.context() as patched:
        patched.setattr(fetch, "write_json", full)
        for one in rig.asked():
            fetch.want(rig.other, *one)
        assert not fetcher.run_once(time.monotonic())
    assert fetcher.run_once(time.monotonic())
    assert held(result["outputs"]["folder"]) == {"a": "hi\n"}
    assert not fetcher.run_once(time.monotonic() + 3600)


def test_a_program_that_comes_home_can_be_run(rig: Rig):
    result = rig.run("echo true > a; chmod 755 a; echo x > b; chmod 400 b", "*", at=rig.other)
    fetched(rig, *rig.asked())
    modes = {name: (Path(result["outputs"]["folder"]) / name).stat().st_mode & 0o777 for name in ("a", "b")}
    assert modes == {"a": 0o755, "b": 0o600}


def test_who_asks_for_what_is_no_attempt_gets_nothing(rig: Rig):
    fetch.want(rig.other, "n1", 1, "../../x")
    fetch.want(rig.other, "n1", 0, "run")
    assert fetch.wanted(rig.other) == []


def test_what_cannot_be_fetched_any_more_is_given_up(rig: Rig):
    fetch.want(rig.other, "n1", 1, "gone-long-ago")
    fetcher = rig.fetcher()
    assert fetcher.run_once(time.monotonic())
    assert fetch.wanted(rig.other)
    long_ago = time.time() - 8 * 86400
    os.utime(rig.other.fetch / "gone-long-ago@1", (long_ago, long_ago))
    assert fetcher.run_once(time.monotonic() + 3600)
    assert not fetch.wanted(rig.other)


def test_outputs_live_as_long_as_the_folders_of_runs(rig: Rig):
    here = rig.run("echo hi > a", "a")["id"]
    there = rig.run("echo hi > a", "a", at=rig.other)["id"]
    fetched(rig, *rig.asked())
    for home, run_id in ((rig.home, here), (rig.other, there)):
        Keeper(home).look(keep_days=1)
        assert (home.runs / run_id / "outputs" / "a").exists()
        Keeper(home).look(keep_days=-1)
        assert not (home.runs / run_id).exists()


def test_deleting_old_runs_holds_up_no_agent(rig: Rig, monkeypatch: pytest.MonkeyPatch):
    old, go_on = rig.home.runs / rig.run("true")["id"], Event()
    keeper, deletes = Keeper(rig.home), keeping.shutil.rmtree

    def slowly(*args: Any, **more: Any) -> None:
        assert go_on.wait(60)
        deletes(*args, **more)

    monkeypatch.setattr(keeping.shutil, "rmtree", slowly)
    began = time.monotonic()
    keeper.run_once(began, keep_days=-1)
    keeper.run_once(began + 2 * keeping.LOOK_EVERY_S, keep_days=-1)  # one at a time
    assert time.monotonic() - began < 20
    go_on.set()
    eventually(lambda: not old.exists(), 30, "it is deleted")


def test_the_home_is_where_a_run_was_submitted_or_else_where_its_source_is(rig: Rig):
    fleet = rig.here.current().fleet

    def home_of(home: Home | None, **spec: Any) -> str:
        run_id = rig.ledger.runs.submit(submission({"command": "true", **spec}, fleet, home=home))
        found = rig.ledger.runs.get(run_id)
        assert found is not None
        return found.home_node

    assert home_of(rig.other, outputs=["a"]) == "n2"
    assert home_of(rig.other) == ""
    assert home_of(Home(rig.home.root / "nowhere"), outputs=["a"]) == ""
    assert home_of(None, outputs=["a"]) == ""
