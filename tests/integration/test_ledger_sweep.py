"""The sweep: lost hints come again, nothing piles up for ever, nothing waits for ever."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest
from ledger_kit import LOST, Kit, with_lanes

from infra_tasks.ledger.cancelling import FIELDS, Cancelling
from infra_tasks.ledger.runs import Submission
from infra_tasks.model.spec import RunSpec
from infra_tasks.routing import GUARDIAN

if TYPE_CHECKING:
    from collections.abc import Iterator

    from redis_process import RedisProcess


@pytest.fixture
def queue(kit: Kit) -> Iterator[str]:
    """The queue of a node of this test's own: lists of the broker have no prefix."""
    yield f"node.{kit.prefix[:-1]}"
    kit.redis.delete(f"node.{kit.prefix[:-1]}")


def submit(kit: Kit, queue: str, **said: object) -> str:
    return kit.submit(node=queue.removeprefix("node."), **said)


def hints(kit: Kit, queue: str) -> list[str]:
    return [json.loads(text)["headers"]["id"] for text in reversed(kit.redis.lrange(queue, 0, -1))]


def test_hints_that_got_lost_are_pushed_again_and_no_others(kit: Kit, queue: str) -> None:
    runs = [submit(kit, queue) for _ in range(5)]
    assert hints(kit, queue) == runs
    kit.pass_time(60)
    kit.sweep()
    assert hints(kit, queue) == runs
    kit.redis.rpop(queue, 2)
    kit.sweep()
    assert hints(kit, queue) == [*runs[2:], *runs[:2]]


def test_all_hints_of_a_broker_that_lost_everything_come_again(kit: Kit, queue: str) -> None:
    runs = [submit(kit, queue) for _ in range(30)]
    kit.redis.delete(queue)
    kit.pass_time(10)
    kit.sweep()
    assert hints(kit, queue) == runs


def test_a_worker_that_starts_gets_back_at_once_what_the_one_before_took_along(kit: Kit, queue: str) -> None:
    runs = [submit(kit, queue) for _ in range(3)]
    kit.redis.rpop(queue)
    kit.sweep()
    assert hints(kit, queue) == runs[1:]
    kit.redis.set(kit.key("sweeper"), "another node")
    assert kit.claims.mend_queue(queue)["moved"] == 1
    assert sorted(hints(kit, queue)) == sorted(runs)
    assert kit.claims.mend_queue(queue)["moved"] == 0
    assert kit.claims.mend_queue("node.nobody-ever-waited-here")["moved"] == 0
    assert kit.redis.get(kit.key("sweeper")) == "another node"


def test_a_queue_nobody_serves_does_not_grow(kit: Kit, queue: str) -> None:
    runs = [submit(kit, queue) for _ in range(3)]
    for _ in range(20):
        kit.pass_time(30)
        kit.sweep()
    assert hints(kit, queue) == runs


def test_hints_for_a_dispatcher_that_is_away_do_not_pile_up(kit: Kit) -> None:
    run = kit.submit(project="p", options=None)
    before = kit.redis.llen("dispatch.a")
    for _ in range(20):
        kit.pass_time(30)
        kit.sweep()
    assert kit.redis.llen("dispatch.a") == before
    kit.redis.delete("dispatch.a")
    kit.pass_time(10)
    kit.sweep()
    assert f"dispatch:{run}" in hints(kit, "dispatch.a")
    kit.redis.delete("dispatch.a")


def test_hints_of_runs_that_need_none_are_dropped_and_nothing_else(kit: Kit, queue: str) -> None:
    runs = [submit(kit, queue) for _ in range(6)]
    canvas = submit(kit, queue, options={"embed": {"callbacks": [{}]}})
    strangers = [
        json.dumps({"headers": {"lang": "py", "task": task, "id": run_id}})
        for task, run_id in [("users.task", runs[0]), ("infra_tasks.run_spec", "sent-by-a-foreign-client")]
    ]
    kit.redis.rpush(queue, *strangers, "no message at all")
    before = kit.redis.lrange(queue, 0, -1)
    kit.sweep()
    assert kit.redis.lrange(queue, 0, -1) == before, "all that wait keep theirs"
    for run in (*runs[:4], canvas):
        kit.runs.cancel(run)
    kit.sweep()
    assert kit.redis.lrange(queue, 0, -1) == [*before[:3], *strangers, "no message at all"], "a canvas is not done yet"
    kit.claims.settle(canvas)
    kit.sweep()
    assert kit.redis.lrange(queue, 0, -1) == [*before[1:3], *strangers, "no message at all"]
    kit.redis.delete(GUARDIAN)


def test_hints_of_dispatches_nobody_wants_any_more_are_dropped(kit: Kit) -> None:
    node = kit.prefix[:-1]
    runs = [kit.submit(project="p", node=node) for _ in range(3)]
    mine = [text for text in kit.redis.lrange("dispatch.a", 0, -1) if any(run in text for run in runs)]
    kit.runs.cancel(runs[1])
    kit.sweep()
    left = kit.redis.lrange("dispatch.a", 0, -1)
    assert [text in left for text in mine] == [True, False, True]
    kit.redis.delete("dispatch.a")


def test_dropping_keeps_the_order_and_goes_on_until_all_dead_ones_are_gone(kit: Kit, queue: str) -> None:
    spec = RunSpec.of({"command": ["true"], "node": queue.removeprefix("node.")})
    dead = kit.runs.submit_many([Submission(uuid4().hex, spec) for _ in range(2500)])
    alive = [submit(kit, queue) for _ in range(3)]
    for _ in Cancelling(kit.scripts, kit.runs).cancel(kit.runs.some(dead, FIELDS), actor="test"):
        pass
    kit.sweep()
    assert len(hints(kit, queue)) == 503
    kit.sweep()
    assert hints(kit, queue) == alive
    kit.pass_time(60)
    kit.sweep()
    assert hints(kit, queue) == alive, "none of them is taken for lost"


def test_a_few_dead_ones_among_many_are_dropped_without_writing_the_others_anew(
    redis_process: RedisProcess, queue: str
) -> None:
    kit = Kit(redis_process.url, text=with_lanes(2000))
    spec = RunSpec.of({"command": ["true"], "node": queue.removeprefix("node.")})
    runs = kit.runs.submit_many([Submission(uuid4().hex, spec) for _ in range(1500)])
    dead = [runs[0], *runs[700:710], runs[-1]]
    for run in dead:
        kit.runs.cancel(run)
    before = kit.redis.info("persistence")["aof_current_size"]
    kit.sweep()
    assert kit.redis.info("persistence")["aof_current_size"] - before < 200_000
    assert hints(kit, queue) == [run for run in runs if run not in dead]
    kit.close()


def test_nothing_is_pushed_for_a_cordoned_node(kit: Kit, queue: str) -> None:
    submit(kit, queue)
    kit.redis.delete(queue)
    kit.nodes.cordon(queue.removeprefix("node."), "test")
    kit.pass_time(10)
    kit.sweep()
    assert hints(kit, queue) == []
    kit.nodes.uncordon(queue.removeprefix("node."))
    kit.sweep()
    assert len(hints(kit, queue)) == 1


def test_what_follows_a_run_is_asked_of_the_controls_at_once_then_less_and_less_often(kit: Kit, queue: str) -> None:
    run = submit(kit, queue, options={"embed": {"callbacks": [{}]}})
    waiting = kit.redis.llen(queue)
    kit.redis.delete(GUARDIAN)
    kit.runs.cancel(run)
    kit.sweep()
    assert kit.redis.llen(GUARDIAN) == 1
    pushed = []
    for _ in range(120):
        kit.pass_time(10)
        kit.sweep()
        pushed.append(kit.redis.llen(GUARDIAN))
    assert pushed[0] == 2
    assert 6 <= pushed[-1] <= 10
    kit.claims.settle(run)
    kit.pass_time(700)
    kit.sweep()
    assert kit.redis.llen(GUARDIAN) == pushed[-1]
    assert kit.redis.llen(queue) <= waiting, "a slot's queue is not for what needs no slot"
    assert kit.runs.unsettled() == []
    kit.redis.delete(GUARDIAN)


def test_a_dispatch_that_died_is_done_again(kit: Kit) -> None:
    run = kit.submit(project="p")
    kit.claims.dispatch("begin", run, "d1", node="a", actor="a")
    for _ in range(3):
        kit.pass_time(30)
        assert kit.claims.dispatch("renew", run, "d1", node="a", actor="a")["said"] == "ok"
        kit.sweep()
    assert kit.state(run) == "SYNCING"
    kit.pass_time(46)
    kit.sweep()
    assert kit.state(run) == "PENDING"
    kit.check()


def test_code_that_could_not_be_brought_is_tried_later_using_a_retry(kit: Kit) -> None:
    run = kit.submit(project="p", retries=2)
    kit.claims.dispatch("begin", run, "d1", node="a", actor="a")
    said = kit.claims.dispatch("later", run, "d1", node="a", actor="a", retry_in_s=60, cause="rsync failed")
    assert said["said"] == "ok"
    assert (kit.state(run), kit.field(run, "retries_used")) == ("PENDING", "1")
    assert kit.claims.dispatch("begin", run, "d2", node="a", actor="a")["said"] == "refused"
    kit.moment_comes(run)
    kit.sweep()
    assert kit.claims.dispatch("begin", run, "d3", node="a", actor="a")["said"] == "ok"
    kit.check()


def test_a_queue_is_forgotten_a_day_after_its_last_run(kit: Kit, queue: str) -> None:
    run = submit(kit, queue)
    assert queue in kit.nodes.pools()
    kit.runs.cancel(run)
    kit.sweep()
    assert queue in kit.nodes.pools()
    kit.redis.zadd(kit.key("queues"), {queue: kit.now() - 25 * 3600})
    kit.sweep()
    assert queue not in kit.nodes.pools()


def test_only_one_node_sweeps(kit: Kit) -> None:
    assert kit.claims.sweep("a")["said"] == "ok"
    assert kit.claims.sweep("b") == {"said": "other", "who": "a"}
    assert kit.claims.sweep("a")["said"] == "ok"


def test_a_run_that_was_lost_before_keeps_its_place_in_nothing(kit: Kit, queue: str) -> None:
    """A full round leaves no key of a run behind but its record, its story and its indexes."""
    run = submit(kit, queue)
    node = queue.removeprefix("node.")
    kit.claimed(run, "c1", node=node)
    kit.finish((run, 1, "c1"), LOST)
    kit.claimed(run, "c2", node=node)
    kit.finish((run, 2, "c2"))
    kit.check()
    left = {key for key in kit.redis.scan_iter(kit.key("*")) if run in key}
    assert left == {kit.key("run", run), kit.key("story", run)}
    for index in ("due", "moments", "live", "unsettled"):
        assert kit.redis.zscore(kit.key(index), run) is None
