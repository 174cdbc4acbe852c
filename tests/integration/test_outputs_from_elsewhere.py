"""Outputs whose home is another node: it fetches them, at once or when it can; a second folder stands for that node."""

from __future__ import annotations

import errno
import json
import os
import time
from pathlib import Path
from threading import Event, Thread
from typing import TYPE_CHECKING, Any

import pytest
from outputs_rig import Rig, held
from waiting import eventually

from infra_tasks import fetch, gather
from infra_tasks.errors import NodeUnreachable
from infra_tasks.ledger.bringing import HERE
from infra_tasks.outputs import arrive, shelf
from infra_tasks.releases.remote.fetch import fetch_files
from infra_tasks.runner.attempt import Attempt
from infra_tasks.settings import Home
from infra_tasks.submit import submission
from workers import keeping
from workers.keeping import Keeper

if TYPE_CHECKING:
    from collections.abc import Iterator

    from redis_process import RedisProcess

    from infra_tasks.ledger import Ledger


@pytest.fixture
def rig(tmp_path: Path, ledger: Ledger, redis_process: RedisProcess) -> Iterator[Rig]:
    made = Rig(tmp_path, ledger, redis_process.url)
    yield made
    made.zygote.close()


def test_a_home_that_is_down_is_asked_and_not_waited_for(rig: Rig, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(gather, "HOME_PATIENCE_S", 500.0)
    began = time.monotonic()
    result = rig.run("echo hi > a", "a", at=rig.other)
    assert time.monotonic() - began < gather.HOME_PATIENCE_S / 2
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
    child.join(180)
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
    monkeypatch.setattr(gather, "HOME_PATIENCE_S", 4.0)
    run_id, over = rig.submit("echo hi > a", "a", at=rig.other), Event()

    def gets_on() -> None:
        for step in range(25):
            rig.ledger.bringing.note(run_id, 1, "coming", size_bytes=step)
            over.wait(0.2)

    thread = Thread(target=gets_on)
    thread.start()
    began = time.monotonic()
    outputs = rig.executor.follow(run_id).result["outputs"]
    took_s = time.monotonic() - began
    over.set()
    thread.join()
    assert took_s > 6
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
    child.join(180)
    assert not child.is_alive()
    result = rig.result(run_id)
    assert (result["state"], result["outputs"]["brought"]) == ("SUCCESS", False)


def test_a_fetch_that_fails_is_told_and_tried_again(rig: Rig, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(fetch, "FIRST_PAUSE_S", 300.0)
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


def test_who_stands_in_line_behind_a_long_fetch_sees_that_it_gets_on(rig: Rig, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(fetch, "FIRST_PAUSE_S", 300.0)  # who failed does not come again meanwhile
    away, long, short = (rig.run(f"echo {n} > a", "a", at=rig.other)["id"] for n in (1, 2, 3))
    for one in rig.asked():
        fetch.want(rig.other, *one)
    for run_id, age_s in ((away, 120), (long, 60)):
        os.utime(rig.other.fetch / f"{run_id}@1", (1, time.time() - age_s))
    fetching, go_on = Event(), Event()

    def carry(*args: Any) -> None:
        if args[3].startswith(f"runs/{away}/"):
            raise NodeUnreachable("no route")
        fetching.set()
        assert go_on.wait(180)
        fetch_files(*args)

    fetcher = rig.fetcher(carry)
    assert fetcher.run_once(time.monotonic())
    thread = Thread(target=fetcher.run_once, args=(time.monotonic(),))
    thread.start()
    try:
        assert fetching.wait(180)
        told = {"said": "coming", "now": f"{long}@1"}
        eventually(lambda: told.items() <= rig.ledger.bringing.said(short, 1).items(), 30, "it hears of the one before")
        assert rig.ledger.bringing.said(away, 1)["said"] == "failed"  # it has been told so, and comes later
    finally:
        go_on.set()
        thread.join()
    assert rig.ledger.bringing.said(long, 1)["said"] == HERE
    assert [one.run for _, one in fetch.wanted(rig.other)] == [away, short]


def test_half_a_file_that_a_killed_transfer_left_is_no_output(rig: Rig):
    result = rig.run("mkdir d; echo hi > d/a", "d", at=rig.other)

    def carry(*args: Any) -> None:
        fetch_files(*args)
        if len(args[4]) == 1 and args[4] != ["outputs.json"]:
            (args[5] / "d" / ".a.x1y2z3").write_text("h")

    for one in rig.asked():
        fetch.want(rig.other, *one)
    rig.fetcher(carry).run_once(time.monotonic())
    assert held(rig.other.runs / result["id"] / "outputs") == {"d/a": "hi\n"}


def test_what_does_not_fit_is_not_begun(rig: Rig, monkeypatch: pytest.MonkeyPatch):
    result = rig.run("echo hi > a", "a", at=rig.other)
    monkeypatch.setattr(arrive, "LOW_BYTES", 1 << 60)
    for one in rig.asked():
        fetch.want(rig.other, *one)
    rig.fetcher().run_once(time.monotonic())
    assert "make room" in rig.ledger.bringing.said(result["id"], 1)["error"]
    assert not list((rig.other.runs / result["id"]).glob(".outputs.1.*"))


def test_two_names_that_are_one_on_the_disk_here_are_said(rig: Rig):
    result = rig.run("echo 1 > A; echo 2 > a", "*", at=rig.other)

    def carry(*args: Any) -> None:  # as a disk that cannot tell them apart
        fetch_files(*args)
        if "A" in args[4]:
            (args[5] / "A").write_text("2\n")

    for one in rig.asked():
        fetch.want(rig.other, *one)
    rig.fetcher(carry).run_once(time.monotonic())
    assert "'A' and 'a' are one name on the disk" in rig.ledger.bringing.said(result["id"], 1)["error"]


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
    (half,) = place.glob(".outputs.1.*")
    (half / "outputs" / ".b.half-sent").write_text("n")
    carried: list[Any] = []

    def watched(*args: Any) -> None:
        carried.append(args[4])
        fetch_files(*args)

    rig.fetcher(watched).run_once(time.monotonic())  # as by another process
    assert carried == [["outputs.json"], ["b"]]  # what came right is not sent again
    assert held(place / "outputs") == {"a": "hi\n", "b": "ho\n"}
    assert not list(place.glob(".outputs.1.*"))


def test_what_a_killed_transfer_left_is_no_output(rig: Rig):
    result = rig.run("mkdir o; echo hi > o/a", "o", at=rig.other)
    half = rig.other.runs / result["id"] / ".outputs.1.dead" / "outputs" / "o"
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
    (rig.home.runs / result["id"] / "evil").write_text("hi\n")
    said = json.loads(listed.read_text())
    said["files"][0]["path"] = evil
    listed.write_text(json.dumps(said))
    fetched(rig, *rig.asked())
    assert rig.ledger.bringing.said(result["id"], 1)["said"] == "failed"
    (half,) = (rig.other.runs / result["id"]).iterdir()
    assert half.name.startswith(".outputs.1.")


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
        assert go_on.wait(400)
        deletes(*args, **more)

    monkeypatch.setattr(keeping.shutil, "rmtree", slowly)
    began = time.monotonic()
    keeper.run_once(began, keep_days=-1)
    keeper.run_once(began + 2 * keeping.LOOK_EVERY_S, keep_days=-1)  # one at a time
    assert old.exists()
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
    assert home_of(rig.other, outputs=["a"], idempotency_key="k") == "n2"
    assert home_of(rig.home, outputs=["a"], idempotency_key="k") == "n2"  # the same run
    assert home_of(rig.other) == ""
    assert home_of(Home(rig.home.root / "nowhere"), outputs=["a"]) == ""
    assert home_of(None, outputs=["a"]) == ""


def test_a_ledger_that_forgot_a_run_is_told_its_home_again(rig: Rig):
    run_id = rig.submit("true", "a", at=rig.other)
    me = rig.here.current()
    token = (run_id, 1, "c")
    fields = rig.ledger.claims.claim(*token, node="n1", uuid=me.uuid, slots=8, labels=[], actor="t")["fields"]
    scripts = rig.ledger.scripts
    scripts.client.delete(scripts.key("run", run_id))
    said = {"run": run_id, "attempt": 1, "claim": "c", "ended": False, "fields": fields}
    assert rig.ledger.claims.present("n1", me.uuid, [said], done=True)["taken"] == [run_id]
    found = rig.ledger.runs.get(run_id)
    assert found is not None
    assert found.home_node == "n2"
