"""What the ledger knows of code: who holds which release, what should be there, what came when, what must be kept."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest
from redis_process import RedisProcess

from infra_tasks.errors import FleetUnreachable, SafeMode
from infra_tasks.ledger import Ledger
from infra_tasks.ledger.code import RUNS_A_CALL, SYNCS_KEPT, Code, HeldRelease, SyncEntry
from infra_tasks.ledger.scripts import source

if TYPE_CHECKING:
    from pathlib import Path

    from ledger_kit import Kit

ONE, OTHER, THIRD = "1" * 64, "2" * 64, "3" * 64
MANY = 10_000


@pytest.fixture
def code(kit: Kit) -> Code:
    return Code(kit.scripts)


def held(digest: str, project: str = "p", **more: object) -> HeldRelease:
    said = {"built_at": 1764000000.123456, "used_at": 1764000001.5, "files": 3, "size_bytes": 1 << 40, "in_use": False}
    return HeldRelease(digest=digest, project=project, **{**said, **more})  # type: ignore[arg-type]


def entry(**said: object) -> SyncEntry:
    named = {"project": "p", "release": ONE, "node": "a", "why": "dispatch", "said": "brought", **said}
    return SyncEntry(**named)  # type: ignore[arg-type]


def fixed(kit: Kit, release: str, project: str = "p") -> str:
    """Return a run whose release was fixed by its dispatch."""
    run = kit.submit(project=project)
    kit.claims.dispatch("begin", run, run, node="a", actor="a")
    kit.claims.dispatch("end", run, run, node="a", actor="a", release=release)
    return run


def test_the_sync_log_is_read_newest_first_and_keeps_every_word(kit: Kit, code: Code):
    before = kit.nodes.now()
    code.note_sync(entry(source="b", files=7, size_bytes=1 << 50, shared_files=9, duration_s=0.123456789))
    code.note_sync(entry(said="failed", why="check", error='ssh said: "no"\n\u00e9\udcff'))
    newest, oldest = code.syncs()
    assert newest == entry(said="failed", why="check", error='ssh said: "no"\n\u00e9\udcff', at=newest.at)
    assert oldest == entry(
        source="b", files=7, size_bytes=1 << 50, shared_files=9, duration_s=0.123456789, at=oldest.at
    )
    assert before <= oldest.at <= newest.at <= kit.nodes.now()


def test_the_sync_log_is_asked_for_a_project_or_a_node(code: Code):
    for project, node in (("p", "a"), ("p", "b"), ("q", "a"), ("p", "a")):
        code.note_sync(entry(project=project, node=node))
    assert len(code.syncs(project="p")) == 3
    assert len(code.syncs(node="a")) == 3
    assert len(code.syncs(project="p", node="a")) == 2
    assert [one.node for one in code.syncs(project="p", limit=2)] == ["a", "b"]
    assert len(code.syncs(2)) == 2
    assert code.syncs(0) == code.syncs(project="unknown") == []


def test_the_sync_log_does_not_grow_for_ever(kit: Kit, code: Code):
    kit.redis.rpush(kit.key("syncs"), *["1.0 {}"] * (SYNCS_KEPT + 5))
    code.note_sync(entry())
    assert kit.redis.llen(kit.key("syncs")) == SYNCS_KEPT
    assert code.syncs(1)[0].node == "a"


def test_a_line_whose_answer_was_lost_is_written_once(kit: Kit, code: Code, monkeypatch: pytest.MonkeyPatch):
    asked = []
    real = kit.scripts._run

    def lost(script: str, text: str) -> object:
        asked.append(real(script, text))
        if len(asked) == 1:
            raise ConnectionLost
        return asked[-1]

    from redis.exceptions import ConnectionError as ConnectionLost

    monkeypatch.setattr(kit.scripts, "_run", lost)
    code.note_sync(entry())
    assert len(asked) == 2
    assert len(code.syncs()) == 1


def test_what_a_node_holds_stands_in_place_of_what_it_held(code: Code):
    both = [held(ONE), held(OTHER, "q", in_use=True)]
    code.publish_releases("a", both)
    code.publish_releases("b", [held(ONE)])
    assert code.releases() == {"a": both, "b": [held(ONE)]}
    assert code.holders("p", ONE) == ["a", "b"]
    assert code.holders("q", OTHER) == ["a"]
    assert code.holders("q", ONE) == []
    code.publish_releases("a", [held(OTHER, "q", used_at=5.0)])
    assert code.holders("p", ONE) == ["b"]
    assert code.holders("q", OTHER) == ["a"]
    code.publish_releases("b", [])
    assert code.releases() == {"a": [held(OTHER, "q", used_at=5.0)]}
    assert code.holders("p", ONE) == []


def test_what_a_newer_version_says_beyond_is_passed_over(kit: Kit, code: Code):
    kit.redis.lpush(kit.key("syncs"), "1.5 " + json.dumps({**asdict(entry()), "more": 1}))
    kit.redis.hset(kit.key("held"), "a", json.dumps([{**asdict(held(ONE)), "more": 1}]))
    assert code.syncs() == [entry(at=1.5)]
    assert code.releases() == {"a": [held(ONE)]}


def test_what_should_be_there_is_the_last_word_for_each_project_and_node(code: Code):
    code.expect("p", "a", ONE)
    code.expect("p", "b", ONE)
    code.expect("q", "a", THIRD)
    code.expect("p", "a", OTHER)
    assert code.expected() == {("p", "a"): OTHER, ("p", "b"): ONE, ("q", "a"): THIRD}
    code.expect("p", "b", None)
    assert ("p", "b") not in code.expected()


def test_releases_of_runs_that_are_not_final_are_wanted(kit: Kit, code: Code):
    assert code.wanted() == set()
    kit.submit()
    kit.submit(project="p")  # not dispatched: no release yet
    waits, runs, ends = fixed(kit, ONE), fixed(kit, OTHER), fixed(kit, THIRD, "q")
    kit.claimed(runs)
    kit.claimed(ends)
    kit.claims.start(ends, 1, "c1", release=THIRD, actor="a")
    assert code.wanted() == {("p", ONE), ("p", OTHER), ("q", THIRD)}
    kit.finish((ends, 1, "c1"))
    kit.runs.cancel(waits)
    assert code.wanted() == {("p", OTHER)}


def test_what_the_runs_of_a_canvas_share_is_wanted_before_the_next_one_is_dispatched(kit: Kit, code: Code):
    first = kit.submit(project="p", options={"embed": {"chain": [{"task": "next"}]}})
    kit.claims.dispatch("begin", first, "d", node="a", actor="a")
    kit.claims.dispatch("end", first, "d", node="a", actor="a", release=ONE)
    kit.claimed(first)
    kit.finish((first, 1, "c1"))
    assert code.wanted() == {("p", ONE)}, "the next one may not have been submitted yet"
    kit.claims.settle(first)
    assert code.wanted() == set()
    kit.submit(project="p", options={"headers": {"root_id": first}})
    assert code.wanted() == {("p", ONE)}


def many_runs(kit: Kit) -> None:
    with kit.redis.pipeline(transaction=False) as pipe:
        for number in range(MANY):
            pipe.zadd(kit.key("live"), {f"r{number}": number})
            pipe.hset(kit.key("run", f"r{number}"), mapping={"project": "p", "release": f"{number % 40:064x}"})
        pipe.execute()


def test_ten_thousand_live_runs_hold_nobody_up(kit: Kit, code: Code):
    many_runs(kit)
    assert len(code.wanted()) == 40
    kit.redis.config_resetstat()
    assert len(code.wanted()) == 40
    assert kit.redis.info("commandstats")["cmdstat_evalsha"]["calls"] == MANY / RUNS_A_CALL


def test_runs_that_end_between_two_parts_of_the_question_hide_no_other(kit: Kit, monkeypatch: pytest.MonkeyPatch):
    with kit.redis.pipeline(transaction=False) as pipe:
        for number in range(40):
            pipe.zadd(kit.key("live"), {f"r{number:02}": number})
            pipe.hset(kit.key("run", f"r{number:02}"), mapping={"project": "p", "release": f"{number:064x}"})
        pipe.execute()
    monkeypatch.setattr("infra_tasks.ledger.code.RUNS_A_CALL", 10)
    ended = []
    real = kit.scripts.call

    def call(name: str, **said: object) -> object:
        answer = real(name, **said)
        for place in (0, -1):  # the oldest and the newest that are left
            ended.extend(kit.redis.zrange(kit.key("live"), place, place))
            kit.redis.zrem(kit.key("live"), ended[-1])
        return answer

    monkeypatch.setattr(kit.scripts, "call", call)
    wanted = {digest for _, digest in Code(kit.scripts).wanted()}
    left = kit.redis.zrange(kit.key("live"), 0, -1)
    assert {f"{int(run[1:]):064x}" for run in left} <= wanted
    assert len(ended) == 8


def test_a_ledger_that_may_have_forgotten_runs_does_not_say_what_is_wanted(kit: Kit, code: Code):
    kit.renew("a")
    fixed(kit, ONE)
    kit.another_server()
    with pytest.raises(SafeMode):
        code.wanted()


def test_a_redis_that_is_away_is_said_as_elsewhere(tmp_path: Path):
    ledger = Ledger.at(RedisProcess(tmp_path).url, prefix=f"t{uuid4().hex}:")
    with pytest.raises(FleetUnreachable):
        ledger.code.note_sync(entry(), patience_s=0)
    with pytest.raises(FleetUnreachable):
        ledger.code.publish_releases("a", [held(ONE)], patience_s=0)
    ledger.close()


def test_the_keys_of_the_scripts_are_in_the_list_on_top():
    prelude = source("wanted").split("local P = KEYS[1]")[0]
    for name in ("held ", "holders:<project>:<digest>", "expected ", "syncs "):
        assert f"-- {name}" in prelude
