"""Nodes that are cordoned, drained or away, and runs given up by hand: each guard, and the script without it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest
from ledger_kit import FAILED, WORKED, Kit, without

from infra_tasks.errors import BadInput, InfraError
from infra_tasks.ledger.abandoning import Abandoning
from infra_tasks.ledger.runs import Submission
from infra_tasks.model.run import State
from infra_tasks.model.spec import RunSpec
from infra_tasks.sweep import sweep

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from redis_process import RedisProcess

ONE = "1" * 64
DOWN: dict[str, Any] = {"outcome": "down", "started_at": 1.0, "ended_at": 2.0}


@pytest.fixture
def kit(redis_process: RedisProcess) -> Iterator[Kit]:
    made = Kit(redis_process.url)
    made.redis.flushall()
    yield made
    made.close()


def pinned_by_fleet(kit: Kit, **spec: Any) -> str:
    """A run that only `a` could take when it was handed in."""
    made = RunSpec.of({"command": ["true"], "node": "a", **spec})
    return kit.runs.submit(Submission(uuid4().hex, made, pinned_by_fleet=True))


def fields(kit: Kit, node: str = "a") -> dict[str, str]:
    return dict(kit.nodes.one(node).fields)


def swept(kit: Kit) -> None:
    kit.redis.delete(kit.key("sweeper"))
    sweep(kit, "s")  # type: ignore[arg-type]  it has runs and claims, which is all a sweep needs


def abandon(kit: Kit, run: str, within_s: float = 0.0) -> tuple[str, bool]:
    return Abandoning(kit.scripts, kit.runs).abandon(run, actor="me@here", within_s=within_s)


def silent(kit: Kit, node: str = "a") -> None:
    """The node spoke, and that was long ago."""
    kit.renew(node)
    kit.pass_time(40)
    kit.redis.hset(kit.key("node", node), "seen_at", "5")


# A cordon and its end.


def test_a_cordon_says_who_and_why_and_stays_beside_that_of_the_system(kit: Kit) -> None:
    kit.nodes.cordon("a", "new disk", actor="me@here")
    run = kit.submit()
    kit.redis.hset(kit.key("run", run), mapping={"state": "STARTED", "attempt": 1, "claim": "c1", "claim_node": "a"})
    said = kit.finish((run, 1, "c1"), {**WORKED, "survivors": 2})
    assert said["said"] == "final"
    known = fields(kit)
    assert (known["cordoned_by"], known["cordon_why"]) == ("me@here", "new disk")
    assert known["survivors_why"] == f"2 processes of run {run} could not be killed"
    before = kit.nodes.uncordon("a", actor="you@there")
    assert (before["cordoned_by"], before["survivors_why"]) == ("me@here", known["survivors_why"])
    assert not kit.nodes.one("a").cordoned
    assert not {"cordoned_by", "survivors_why", "cordon_why"} & set(fields(kit))
    kinds = [json.loads(text)["kind"] for text in kit.redis.lrange(kit.key("events"), 0, -1)]
    assert kinds == ["uncordoned", "cordoned", "cordoned"]


def test_lifting_a_cordon_again_after_a_lost_answer_says_the_same(kit: Kit) -> None:
    kit.nodes.cordon("a", "new disk", actor="me@here")
    said = [kit.scripts.call("cordon", node="a", how="uncordon", actor="you", nonce="n1") for _ in range(2)]
    assert said[0] == said[1]
    assert said[1]["before"]["cordon_why"] == "new disk"


def test_a_hint_of_a_pool_that_a_cordoned_node_took_is_given_back_at_once(kit: Kit) -> None:
    kit.redis.delete("pool._any")
    run, behind = (kit.submit(node=None) for _ in range(2))
    kit.redis.rpop("pool._any")
    kit.nodes.cordon("a", "x")
    assert kit.claim(run)["why"] == "cordoned"
    back = [json.loads(text)["headers"]["id"] for text in kit.redis.lrange("pool._any", 0, -1)]
    assert back == [behind, run], "it is the next one again"
    pinned = kit.submit()
    kit.redis.delete("node.a")
    assert kit.claim(pinned)["why"] == "cordoned"
    assert kit.redis.llen("node.a") == 0, "nobody else may take that one"
    kit.check()


def test_what_a_cordoned_node_did_not_take_is_pushed_right_after_the_cordon_is_lifted(kit: Kit) -> None:
    kit.nodes.cordon("a", "x")
    run = kit.submit()
    kit.redis.delete("node.a")
    kit.pass_time(20)
    kit.redis.zadd(kit.key("waiting", "node.a"), {run: kit.now()})
    swept(kit)
    assert kit.redis.llen("node.a") == 0
    kit.nodes.uncordon("a")
    swept(kit)
    assert kit.redis.llen("node.a") == 1


# A drain.


def a_drain_goes_on_until_nothing_runs(kit: Kit) -> None:
    run, waits = kit.submit(), kit.submit()
    kit.claimed(run)
    kit.nodes.drain("a", why="os upgrade", actor="me@here", moves=True)
    swept(kit)
    assert (fields(kit)["drain"], fields(kit)["cordoned"]) == ("draining", "1")
    assert kit.claim(waits)["why"] == "cordoned"
    kit.finish((run, 1, "c1"))
    swept(kit)
    assert fields(kit)["drain"] == "drained"
    assert kit.state(waits) == "QUEUED", "the spec names that node"
    kit.nodes.uncordon("a")
    swept(kit)
    assert "drain" not in fields(kit)
    kit.claimed(waits)
    kit.check()


def what_the_fleet_pinned_goes_back_to_its_pool(kit: Kit) -> None:
    by_fleet, by_spec, running = pinned_by_fleet(kit, name="n"), kit.submit(), pinned_by_fleet(kit)
    kit.claimed(running)
    kit.nodes.drain("a", why=None, actor="me", moves=False)
    swept(kit)
    assert kit.field(by_fleet, "queue") == "node.a", "not asked for"
    kit.nodes.drain("a", why=None, actor="me", moves=True)
    swept(kit)
    moved = kit.runs.get(by_fleet)
    assert moved is not None
    assert (moved.queue, moved.node, moved.spec.node, moved.spec.name) == ("pool._any", "", None, "n")
    assert kit.field(by_spec, "queue") == "node.a"
    assert kit.runs.get(running).spec.node == "a"  # type: ignore[union-attr]
    assert "drained" in kit.runs.events(by_fleet)[-1].cause
    assert kit.claimed(by_fleet, node="b")["lease_until"]
    assert fields(kit)["drain"] == "draining"
    kit.check()


def a_run_is_unpinned_only_while_it_waits_for_that_node(kit: Kit) -> None:
    run, by_spec = pinned_by_fleet(kit), kit.submit()
    assert kit.claims.unpin(by_spec, "a", "{}", actor="s", cause="c")["said"] == "refused"
    assert kit.claims.unpin(run, "b", "{}", actor="s", cause="c")["said"] == "refused"
    kit.claimed(run)
    assert kit.claims.unpin(run, "a", "{}", actor="s", cause="c")["said"] == "refused"
    assert kit.runs.get(run).spec.command == ["true"]  # type: ignore[union-attr]
    kit.check()


def nothing_is_unpinned_in_safe_mode(kit: Kit) -> None:
    kit.renew("a")
    run = pinned_by_fleet(kit)
    kit.another_server()
    assert kit.claims.unpin(run, "a", "{}", actor="s", cause="c")["said"] == "safe"


def at_its_deadline_a_drain_stops_what_runs(kit: Kit) -> None:
    pool, pinned, never = kit.submit(node=None), kit.submit(), kit.submit(retry_on=["exit_code"])
    held = tuple((run, 1, "c1") for run in (pool, pinned, never))
    for run in (pool, pinned, never):
        kit.claimed(run, slots=3)
    kit.nodes.drain("a", why=None, actor="me@here", deadline_s=100)
    assert not any(one.get("down") for one in kit.renew("a", held)["attempts"].values())
    kit.pass_time(101)
    for _ in range(2):
        assert all(one["down"] for one in kit.renew("a", held)["attempts"].values())
    told = [event for event in kit.runs.events(pinned) if "deadline" in event.cause]
    assert [event.actor for event in told] == ["me@here"]
    for token in held:
        kit.finish(token, DOWN)
    assert [kit.state(run) for run in (pool, pinned, never)] == ["QUEUED", "QUEUED", "FAILURE"]
    assert (kit.field(pool, "stopped"), kit.field(pool, "retries_used")) == ("1", "")
    swept(kit)
    assert fields(kit)["drain"] == "drained"
    kit.claimed(pool, "c2", node="b")
    kit.check()


def test_a_drain_without_a_deadline_stops_nothing(kit: Kit) -> None:
    run = kit.submit()
    kit.claimed(run)
    kit.nodes.drain("a", why=None, actor="me")
    kit.pass_time(5000)
    assert not kit.renew("a", ((run, 1, "c1"),))["attempts"][f"{run}@1"]["down"]


def test_a_node_that_safe_mode_finds_at_work_is_not_drained_any_more(kit: Kit) -> None:
    kit.renew("a")
    kit.nodes.drain("a", why=None, actor="me")
    swept(kit)
    assert fields(kit)["drain"] == "drained"
    kit.redis.sadd(kit.key("node", "a", "live"), "r1")
    swept(kit)
    assert fields(kit)["drain"] == "draining"


# Giving up by hand.


def a_silent_node_s_run_is_given_up_and_its_attempt_fenced(kit: Kit) -> None:
    run = kit.submit(options={"embed": {"callbacks": [{}]}})
    kit.claimed(run)
    silent(kit)
    assert abandon(kit, run) == ("FAILURE", True)
    record = kit.runs.get(run)
    assert record is not None
    assert record.reason == "node_lost"
    assert "given up by me@here" in record.fields["cause"]
    assert kit.meta(run)["status"] == "FAILURE"  # type: ignore[index]
    assert kit.renew("a", ((run, 1, "c1"),))["attempts"][f"{run}@1"].get("fenced")
    assert kit.finish((run, 1, "c1"), WORKED)["said"] == "fenced"
    assert kit.runs.events(run)[-1].cause == "late outcome: exit code 0"
    assert abandon(kit, run) == ("FAILURE", False)
    kit.check()


def test_a_run_whose_code_is_made_ready_on_a_silent_node_is_given_up_as_well(kit: Kit) -> None:
    run = kit.submit(project="p")
    kit.claims.dispatch("begin", run, "d", node="b", actor="d")
    kit.claims.dispatch("end", run, "d", node="b", actor="d", release=ONE)
    kit.claimed(run)
    silent(kit)
    assert kit.state(run) == "SYNCING"
    assert abandon(kit, run) == ("FAILURE", True)
    assert kit.claims.start(run, 1, "c1", release=ONE, actor="a")["said"] == "fenced"
    kit.check()


def a_node_that_speaks_keeps_its_run(kit: Kit) -> None:
    run = kit.submit()
    kit.claimed(run)
    kit.renew("a", ((run, 1, "c1"),))
    with pytest.raises(BadInput, match=f"infra cancel {run}"):
        abandon(kit, run)
    assert kit.state(run) == "STARTED"


def an_outage_of_redis_is_no_silence(kit: Kit) -> None:
    run = kit.submit()
    kit.claimed(run)
    kit.renew("a")
    kit.redis.hset(kit.key("node", "a"), "seen_at", "-1000")  # by the wall clock it was silent for long
    with pytest.raises(BadInput, match="spoke"):
        abandon(kit, run)


def what_no_node_has_is_not_given_up(kit: Kit) -> None:
    waits, retried, brought = kit.submit(), kit.submit(retries=1), kit.submit(project="p")
    kit.claimed(retried)
    kit.finish((retried, 1, "c1"), FAILED)
    kit.claims.dispatch("begin", brought, "d1", node="a", actor="a")
    silent(kit)
    for run, state in ((waits, "QUEUED"), (retried, "RETRY"), (brought, "SYNCING")):
        with pytest.raises(BadInput, match=f"is {state}: no node has it.*infra cancel"):
            abandon(kit, run)
        assert kit.state(run) == state
    kit.check()


def nothing_is_given_up_in_safe_mode(kit: Kit) -> None:
    run = kit.submit()
    kit.claimed(run)
    silent(kit)
    kit.another_server()
    with pytest.raises(InfraError, match="safe mode"):
        abandon(kit, run, within_s=-1)
    assert kit.state(run) == "STARTED"


def an_end_is_for_the_attempt_it_was_made_for(kit: Kit) -> None:
    run = kit.submit()
    kit.claimed(run, attempt=2)
    silent(kit)
    said = kit.scripts.call("abandon", run=run, attempt=1, actor="me", silent_after_s=30, nonce="n", to="FAILURE",
                            reason="node_lost", result="{}", meta="{}", meta_key="m", keep_s=9, cause="c")  # fmt: skip
    assert (said["said"], kit.state(run)) == ("again", State.STARTED)


# The node that has the source is away.


def step_whose_release_is_fixed(kit: Kit, *holders: str) -> str:
    """The second step of a chain: the first one was dispatched on `a`, which has the source."""
    first = kit.submit(project="p", options={"embed": {"chain": [{"task": "x"}]}})
    kit.claims.dispatch("begin", first, "d", node="a", actor="d")
    kit.claims.dispatch("end", first, "d", node="a", actor="d", release=ONE)
    for node in holders:
        kit.scripts.call("publish_releases", node=node, held=json.dumps([{"project": "p", "digest": ONE}]))
    return kit.submit(node=None, project="p", options={"headers": {"root_id": first}})


def what_a_living_node_holds_goes_on_without_its_source(kit: Kit) -> None:
    fresh, step = kit.submit(node=None, project="p"), step_whose_release_is_fixed(kit, "a", "b")
    kit.renew("a")
    kit.pass_time(40)
    kit.renew("b")
    swept(kit)
    assert (kit.state(step), kit.field(step, "release"), kit.field(step, "queue")) == ("QUEUED", ONE, "pool._any")
    assert kit.runs.events(step)[-1].cause == f"a is silent; b holds {ONE[:12]}"
    assert kit.state(fresh) == "PENDING", "no release is fixed for it"
    assert kit.claims.dispatch("begin", step, "d2", node="a", actor="d")["said"] == "refused"
    assert kit.claimed(step, node="b")["release"] == ONE
    kit.check()


def a_source_that_speaks_dispatches_itself(kit: Kit) -> None:
    step = step_whose_release_is_fixed(kit, "a", "b")
    kit.renew("a")
    kit.renew("b")
    swept(kit)
    assert kit.state(step) == "PENDING"


def what_only_silent_nodes_hold_waits(kit: Kit) -> None:
    step = step_whose_release_is_fixed(kit, "a", "b")
    kit.renew("a")
    kit.renew("b")
    kit.pass_time(40)
    swept(kit)
    assert kit.state(step) == "PENDING"


CHECKS = (
    what_a_living_node_holds_goes_on_without_its_source,
    a_source_that_speaks_dispatches_itself,
    what_only_silent_nodes_hold_waits,
    a_drain_goes_on_until_nothing_runs,
    what_the_fleet_pinned_goes_back_to_its_pool,
    a_run_is_unpinned_only_while_it_waits_for_that_node,
    nothing_is_unpinned_in_safe_mode,
    at_its_deadline_a_drain_stops_what_runs,
    a_silent_node_s_run_is_given_up_and_its_attempt_fenced,
    a_node_that_speaks_keeps_its_run,
    an_outage_of_redis_is_no_silence,
    what_no_node_has_is_not_given_up,
    nothing_is_given_up_in_safe_mode,
    an_end_is_for_the_attempt_it_was_made_for,
)
# script, the guard as it stands there, what is put in its place, the check that must notice
MUTANTS = [
    ("sweep", " + redis.call('SCARD', key('node', node, 'live'))", "", a_drain_goes_on_until_nothing_runs),
    ("sweep", "(d[2] == '1' and moving(node) or 0)", "moving(node)", what_the_fleet_pinned_goes_back_to_its_pool),
    ("sweep", "if get(id, 'pool')[1] ~= '' then", "if true then", a_drain_goes_on_until_nothing_runs),
    (
        "sweep",
        "local left = (d[2] == '1' and moving(node) or 0) +",
        "local left =",
        what_the_fleet_pinned_goes_back_to_its_pool,
    ),
    ("sweep", "or speaks(source) then return end", "then return end", a_source_that_speaks_dispatches_itself),
    ("sweep", "if speaks(node) then return node end", "return node", what_only_silent_nodes_hold_waits),
    (
        "sweep",
        "local holder = release ~= '' and",
        "local holder = 'b' or",
        what_a_living_node_holds_goes_on_without_its_source,
    ),
    ("sweep", "put(id, 'release', release)", "", what_a_living_node_holds_goes_on_without_its_source),
    ("unpin", "r[1] ~= 'QUEUED' or ", "", a_run_is_unpinned_only_while_it_waits_for_that_node),
    ("unpin", "or r[2] ~= A.node ", "", a_run_is_unpinned_only_while_it_waits_for_that_node),
    ("unpin", " or r[3] == ''", "", a_run_is_unpinned_only_while_it_waits_for_that_node),
    ("unpin", "if guarded(now) then", "if false then", nothing_is_unpinned_in_safe_mode),
    ("renew", "math.huge) <= now\n", "math.huge) <= now + 500\n", at_its_deadline_a_drain_stops_what_runs),
    ("renew", "or told == t then", "then", at_its_deadline_a_drain_stops_what_runs),
    ("abandon", "put(A.run, 'lapsed', '1')", "", a_silent_node_s_run_is_given_up_and_its_attempt_fenced),
    ("abandon", "if FINAL[state] then", "if false then", a_silent_node_s_run_is_given_up_and_its_attempt_fenced),
    ("abandon", "if silent_s < A.silent_after_s then", "if false then", a_node_that_speaks_keeps_its_run),
    ("abandon", "key('node', r[4]), 'seen')", "key('node', r[4]), 'seen_at')", an_outage_of_redis_is_no_silence),
    ("abandon", "if not held(state, r[5]) then", "if false then", what_no_node_has_is_not_given_up),
    ("abandon", "if guarded(now) then", "if false then", nothing_is_given_up_in_safe_mode),
    ("abandon", "if tonumber(r[2]) ~= A.attempt then", "if false then", an_end_is_for_the_attempt_it_was_made_for),
]


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_guard_holds(kit: Kit, check: Callable[[Kit], None]) -> None:
    check(kit)


@pytest.mark.parametrize(("script", "guard", "instead", "check"), MUTANTS, ids=[f"{m[0]}: {m[1]}" for m in MUTANTS])
def test_a_script_without_its_guard_is_caught(
    redis_process: RedisProcess, script: str, guard: str, instead: str, check: Callable[[Kit], None]
) -> None:
    kit = Kit(redis_process.url, text=without(script, guard, instead))
    kit.redis.flushall()
    with pytest.raises((AssertionError, InfraError, KeyError, pytest.fail.Exception)):
        check(kit)
    kit.close()
