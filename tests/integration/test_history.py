"""What leaves the history: exported before it is forgotten, read again whatever befell the files, at a bounded cost."""

from __future__ import annotations

import json
import shutil
import time
from collections import Counter

import pytest

from infra_tasks.history.archive import Archive
from infra_tasks.history.export import DAY_S, Export, archivist
from infra_tasks.history.past_line import of_line, to_line
from infra_tasks.ledger.history import History
from infra_tasks.settings import Home

HISTORY_S = 90


@pytest.fixture
def history(kit):
    return History(kit.scripts)


def ended(kit, **spec):
    run = kit.submit(**spec)
    kit.runs.cancel(run)
    return run


def totals(kit):
    return {name: int(n) for name, n in kit.redis.hgetall(kit.key("totals")).items()}


def test_only_what_is_older_than_the_history_and_settled_leaves_it(kit, history):
    old = ended(kit, idempotency_key="k")
    followed = kit.submit(options={"embed": {"callbacks": ["x"]}})
    kit.runs.cancel(followed)
    kit.pass_time(HISTORY_S + 10)
    young, living = ended(kit), kit.submit()
    assert history.leaving("a", HISTORY_S).ids == [old]
    everything = [old, followed, young, living]
    assert history.forget(everything, HISTORY_S, exported=True) == 1
    assert [run.id for run in kit.runs.get_many(everything)] == [followed, young, living]
    assert kit.meta(old) is None
    assert not [key for key in kit.redis.scan_iter(kit.key("*")) if old in key]
    assert kit.submit(idempotency_key="k") != old
    assert totals(kit) == {"submitted": 5, "archived": 1}
    kit.check()
    kit.claims.settle(followed)
    assert history.leaving("a", HISTORY_S).ids == [followed]


def test_one_node_exports_and_another_one_when_it_is_away(kit, history):
    run = ended(kit)
    kit.pass_time(HISTORY_S + 10)
    assert history.leaving("a", HISTORY_S).ids == [run]
    said = history.leaving("b", HISTORY_S)
    assert (said.said, said.who, list(said.ids)) == ("other", "a", [])
    kit.redis.delete(kit.key("archivist"))
    assert history.leaving("b", HISTORY_S).ids == [run]
    assert archivist(["n1", "n2", "n3"], {"n2", "n3"}) == "n2"
    assert archivist(["n1"], set()) is None


def test_nothing_leaves_in_safe_mode(kit, history):
    run = ended(kit)
    kit.renew()
    kit.pass_time(HISTORY_S + 10)
    kit.another_server()
    assert history.leaving("a", HISTORY_S).said == "safe"
    assert history.forget([run], HISTORY_S, exported=True) == 0
    assert kit.runs.get(run) is not None


def test_old_runs_that_something_still_follows_hold_up_nobody_behind_them(kit, history):
    run = ended(kit)
    kit.redis.zadd(kit.key("ended"), {f"stuck{n}": -1000.0 for n in range(2100)})
    kit.redis.zadd(kit.key("unsettled"), {f"stuck{n}": 0.0 for n in range(2100)})
    kit.pass_time(HISTORY_S + 10)
    first = history.leaving("a", HISTORY_S)
    assert list(first.ids) == []
    assert history.leaving("a", HISTORY_S, skip=first.skip).ids == [run]


def test_a_ledger_that_never_counted_begins_with_what_it_holds(kit):
    for _ in range(3):
        kit.submit()
    kit.redis.delete(kit.key("totals"))
    kit.submit()
    assert totals(kit) == {"submitted": 4}


def test_a_result_lives_as_long_as_a_longer_history(kit, history):
    history.leaving("a", 100 * DAY_S)
    run = ended(kit)
    assert kit.redis.ttl(f"celery-task-meta-{run}") > 100 * DAY_S


def test_scripts_touch_as_few_keys_with_many_finished_runs_as_with_few(kit, history):
    """Counted by Redis itself: what a submit, a claim, an end, a sweep and a look at old runs call."""
    finish_many(kit, 100, "few")
    calls_of_a_round(kit, history)
    few = calls_of_a_round(kit, history)
    finish_many(kit, 50_000, "many")
    many = calls_of_a_round(kit, history)
    assert many == few


def finish_many(kit, count, name):
    """Put runs into what finished ones are in, as the scripts leave them."""
    now, ids = kit.now(), [f"{name}{n}" for n in range(count)]
    for index, score in (("ended", now), ("recent", time.time()), ("ids", 0)):
        kit.redis.zadd(kit.key(index), dict.fromkeys(ids, score))
    pipe = kit.redis.pipeline(transaction=False)
    for run in ids:
        pipe.hset(kit.key("run", run), mapping={"state": "SUCCESS"})
    pipe.execute()
    kit.redis.hincrby(kit.key("counts"), "SUCCESS", count)


def calls_of_a_round(kit, history):
    kit.redis.config_resetstat()
    run = kit.submit()
    kit.claimed(run)
    kit.finish((run, 1, "c1"))
    kit.sweep()
    history.leaving("a", 1e9)
    kit.runs.recent(20)
    kit.runs.known(run)
    said = kit.redis.info("commandstats")
    noise = {"info", "config|resetstat", "evalsha", "eval", "ping", "command"}
    calls = {name.removeprefix("cmdstat_"): stat["calls"] for name, stat in said.items()}
    return Counter({name: n for name, n in calls.items() if name not in noise})


def past(run="r1", ended_at=1_790_000_000.0, **fields):
    from infra_tasks.ledger.history import Past
    from infra_tasks.ledger.records import Event, Run

    said = {
        "state": "SUCCESS",
        "submitted_at": str(ended_at - 5),
        "ended_at": str(ended_at),
        "timeout_s": "60",
        "spec": json.dumps({"command": ["true"]}),
        "result": json.dumps({"state": "SUCCESS"}),
    }
    return Past(Run(run, {**said, **fields}), [Event(1.0, "", "QUEUED", "cli", "submitted", None)])


def test_a_line_holds_all_of_a_run_and_nothing_that_only_a_living_one_needs():
    line = to_line(past(hint="canvas", print="p", name="nightly", attempt="2"))
    again = of_line(line)
    assert (again.run.id, again.run.name, again.run.attempt, again.run.spec.command) == ("r1", "nightly", 2, ["true"])
    assert again.run.result == {"state": "SUCCESS"}
    assert again.events == past().events
    assert "hint" not in json.loads(line)["fields"]
    assert b"canvas" not in line
    for garbage in (b"{}", b"[]", b"no json", b'{"id":"a","fields":{},"spec":null,"result":null,"story":[]}'):
        with pytest.raises(ValueError, match=r"."):
            of_line(garbage)


@pytest.fixture
def home(tmp_path):
    return Home(tmp_path)


def read(home):
    notes = []
    return [one.run.id for one in Archive(home, notes.append).newest()], notes


def files(home):
    (data,) = home.archive.glob("*.zst")
    return data, data.with_name(data.name.replace(".jsonl.zst", ".index"))


def test_the_archive_gives_the_newest_first_and_each_run_once(home):
    archive = Archive(home)
    archive.add([past("a", 1_790_000_000.0), past("b", 1_790_000_001.0)])
    archive.add([past("b", 1_790_000_001.0), past("c", 1_800_000_000.0)])
    assert read(home) == (["c", "b", "a"], [])
    assert archive.count() == (4, 2)
    assert [one.run.id for one in archive.newest(since=1_795_000_000.0)] == ["c"]
    assert [one.run.id for one in archive.beginning_with("b")] == ["b"]
    assert [path.stat().st_mode & 0o077 for path in home.archive.iterdir()] == [0] * 5


@pytest.mark.parametrize("with_index", [True, False])
def test_a_frame_that_is_cut_off_is_passed_over_with_a_note_and_written_over(home, with_index):
    archive = Archive(home)
    archive.add([past("a")])
    archive.add([past("b")])
    data, index = files(home)
    with data.open("ab") as file:
        file.write(data.read_bytes()[:40] + bytes(10_000))
    with index.open("ab") as file:
        file.write(b'{"offset":')
    if not with_index:
        index.unlink()
    ids, notes = read(home)
    assert ids == ["b", "a"]
    assert "not whole" in notes[0]
    archive.add([past("c")])
    assert read(home) == (["c", "b", "a"], [])


def test_a_damaged_frame_hides_only_its_own_runs(home):
    archive = Archive(home)
    for name in "abc":
        archive.add([past(name)])
    data, index = files(home)
    frame = json.loads(index.read_text().splitlines()[1])
    text = bytearray(data.read_bytes())
    text[frame["offset"] + frame["size_bytes"] - 2] ^= 0xFF
    data.write_bytes(text)
    ids, notes = read(home)
    assert ids == ["c", "a"]
    assert "1 runs" in notes[0]
    archive.add([past("d")])
    assert read(home)[0] == ["d", "c", "a"]


def exported_by(fleet, **limits):
    """Export with the fleet's own node, whose history is over at once."""
    from infra_tasks.node import this_node

    raw = json.loads(fleet.home.nodes_json.read_text())
    fleet.home.nodes_json.write_text(json.dumps({**raw, "limits": {"history_days": 1e-9, **limits}}))
    return Export(fleet.ledger), this_node(fleet.home)


def test_killed_between_writing_and_forgetting_it_is_written_again_and_told_once(fleet, monkeypatch):
    run = fleet.accepts("echo", "x", name="nightly")
    fleet.takes(run).ends()
    export, me = exported_by(fleet)
    monkeypatch.setattr(History, "forget", lambda *_, **__: 0)
    export.batch(me)
    monkeypatch.undo()
    assert fleet.ledger.runs.get(run) is not None
    assert export.batch(me) == 1
    assert fleet.ledger.runs.get(run) is None
    assert Archive(fleet.home).count()[0] == 2
    assert [one["id"] for one in fleet.json("runs", "--archived")] == [run]


def test_what_cannot_be_written_is_not_forgotten(fleet):
    run = fleet.accepts()
    fleet.takes(run).ends()
    export, me = exported_by(fleet)
    fleet.home.archive.write_text("a file where the folder should be")
    with pytest.raises(OSError, match="archive"):
        export.batch(me)
    assert fleet.ledger.runs.get(run) is not None


def test_archived_runs_are_listed_shown_and_their_output_is_told_to_be_gone(fleet):
    good, bad = fleet.accepts("echo", "x", name="nightly"), fleet.accepts("false", name="other")
    fleet.takes(good).ends()
    from infra_tasks.model.run import Reason, State

    fleet.takes(bad).ends(State.FAILURE, Reason.EXIT_CODE, exit_code=1)
    export, me = exported_by(fleet, keep_runs_days=1e-9)
    export.batch(me)
    assert fleet.json("runs") == []
    assert [one["id"] for one in fleet.json("runs", "--archived", "--state", "failure")] == [bad]
    assert [one["id"] for one in fleet.json("runs", "--archived", "--name", "night*", "--limit", "1")] == [good]
    listed = fleet.infra("runs", "--archived")
    assert "nightly: echo x" in listed.out
    assert "2 runs in 1 file" in listed.err
    assert fleet.infra("runs", "--archived", "--watch").code == 2
    shown = fleet.json("show", good[:8])
    assert (shown["id"], shown["state"], shown["stdout_tail"]) == (good, "SUCCESS", "tail\n")
    assert shown["events"][-1]["to"] == "SUCCESS"
    assert "has left the history" in fleet.infra("show", good).err
    shutil.rmtree(fleet.home.runs / good)
    gone = fleet.infra("logs", good)
    assert gone.code == 2
    assert "its output is gone since" in gone.err
    assert "no run begins with" in fleet.infra("show", "zzz").err


def test_the_output_of_a_run_whose_folder_was_deleted_is_told_to_be_gone(fleet):
    run = fleet.accepts()
    fleet.takes(run).ends()
    exported_by(fleet, keep_runs_days=1e-9, history_days=30)
    shutil.rmtree(fleet.home.runs / run)
    (fleet.home.root / "node.json").write_text(json.dumps({"name": "n1", "uuid": "u1"}))
    said = fleet.infra("logs", run)
    assert said.code == 3
    assert "its output is gone since" in said.err


def test_without_an_archive_old_runs_are_only_forgotten(fleet):
    run = fleet.accepts()
    fleet.takes(run).ends()
    export, me = exported_by(fleet)
    raw = json.loads(fleet.home.nodes_json.read_text())
    fleet.home.nodes_json.write_text(json.dumps({**raw, "archive": False}))
    from infra_tasks.node import this_node

    assert export.batch(this_node(fleet.home)) == 1
    assert not fleet.home.archive.exists()
    assert fleet.ledger.scripts.client.hget("infra:totals", "forgotten") == "1"
    assert "nothing has left" in fleet.infra("runs", "--archived").out
    assert me.fleet.archive
