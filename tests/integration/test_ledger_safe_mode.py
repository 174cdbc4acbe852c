"""Safe mode: after another server process answers, nothing is given away until the nodes said what they hold."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from ledger_kit import FAILED, LOST, WORKED, Kit
from redis_process import RedisProcess

from infra_tasks.model.run import State
from infra_tasks.routing import dispatch_queue

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisProcess]:
    made = RedisProcess(tmp_path / "redis").start()
    yield made
    made.kill()


def held(
    run: str, attempt: int, claim: str, fields: dict[str, str] | None, *, ended: bool = False, told: str = ""
) -> dict[str, Any]:
    said: dict[str, Any] = {"run": run, "attempt": attempt, "claim": claim, "ended": ended}
    return {**said, **({"fields": fields} if fields else {}), **({"told": told} if told else {})}


def present(kit: Kit, *attempts: dict[str, Any], node: str = "a", done: bool = True) -> dict[str, Any]:
    return kit.claims.present(node, f"uuid-{node}", attempts, done=done)


def test_a_plain_restart_is_over_as_soon_as_the_nodes_presented_and_changes_nothing(server: RedisProcess) -> None:
    kit = Kit(server.url)
    kit.renew("a")
    present(kit)
    kit.renew("b")
    present(kit, node="b")
    running, waiting = kit.submit(), kit.submit()
    fields = kit.claimed(running)
    before = {one.id: (one.state, one.fields) for one in kit.check().values()}
    server.kill()
    server.start()
    assert kit.claim(waiting, "c9")["why"] == "safe"
    assert kit.nodes.safe_mode() == ["a", "b"]
    assert kit.renew("a", ((running, 1, "c1"),))["present"]
    assert present(kit, held(running, 1, "c1", fields))["known"] == [running]
    assert kit.claim(waiting, "c9")["why"] == "safe"
    present(kit, node="b")
    assert kit.nodes.safe_mode() is None
    assert {one.id: (one.state, one.fields) for one in kit.check().values()} == before
    kit.claimed(waiting, "c9")
    kit.close()


def test_a_first_start_is_no_safe_mode(kit: Kit) -> None:
    run = kit.submit()
    kit.claimed(run)
    assert kit.nodes.safe_mode() is None


def test_a_copy_from_before_the_first_node_waits_for_one(kit: Kit) -> None:
    run = kit.submit()
    kit.runs.expire(kit.submit())
    kit.another_server()
    assert kit.claim(run)["why"] == "safe"
    assert kit.renew("a")["present"]
    present(kit)
    kit.claimed(run)


def test_safe_mode_waits_no_longer_than_the_longest_lease_for_a_node_that_is_gone(kit: Kit) -> None:
    kit.renew("a", longest_s=300.0)
    kit.renew("b")
    run = kit.submit()
    kit.another_server()
    assert kit.claim(run)["why"] == "safe"
    present(kit)
    kit.pass_time(270)
    assert kit.claim(run)["why"] == "safe"
    kit.pass_time(35)
    kit.claimed(run)
    assert kit.renew("b")["present"], "it is heard as soon as it is back"


def test_after_a_long_silence_a_node_the_copy_does_not_know_is_heard_before_anything_is_given_away(kit: Kit) -> None:
    kit.renew("a")
    present(kit)
    run = kit.submit(node=None)
    kit.redis.hincrbyfloat(kit.key("clock"), "seen", -86400.0)
    kit.another_server()
    kit.submit()  # a caller that comes first does not count as a node
    present(kit)
    assert kit.claim(run, "c1")["why"] == "safe"
    assert kit.renew("new")["present"]
    kit.pass_time(6)
    assert kit.claim(run, "c1")["why"] == "safe"
    present(kit, node="new")
    assert kit.nodes.safe_mode() is None
    kit.claimed(run, "c1")


def test_a_forgotten_claim_is_taken_from_the_node_that_holds_it(server: RedisProcess, tmp_path: Path) -> None:
    kit = Kit(server.url)
    kit.renew("a")
    present(kit)
    run = kit.submit(node=None)
    server.copy_to(tmp_path / "copy")
    fields = kit.claimed(run, "c1")
    server.kill()
    server.restore_from(tmp_path / "copy")
    server.start()
    answer = kit.renew("a", ((run, 1, "c1"),))
    assert (answer["safe"], answer["attempts"][f"{run}@1"]) == (True, {"unsure": True})
    assert kit.claim(run, "c2", node="b", attempt=1)["why"] == "safe"
    assert present(kit, held(run, 1, "c1", fields))["taken"] == [run]
    assert kit.claim(run, "c2", node="b", attempt=2)["why"] == "state"
    assert kit.finish((run, 1, "c1"), WORKED, fields)["state"] == "SUCCESS"
    kit.check()
    kit.close()


def test_a_copy_from_before_its_dispatch_learns_the_code_a_run_was_recorded_for(
    server: RedisProcess, tmp_path: Path
) -> None:
    kit = Kit(server.url)
    kit.renew("a")
    present(kit)
    first = kit.submit(project="p", options={"embed": {"chain": [{}]}})
    server.copy_to(tmp_path / "copy")
    dispatched(kit, first, "one", rules='{"setup":null}')
    fields = kit.claimed(first, "c1")
    server.kill()
    server.restore_from(tmp_path / "copy")
    server.start()
    kit.renew("a", ((first, 1, "c1"),))
    assert present(kit, held(first, 1, "c1", fields))["taken"] == [first]
    kit.check()
    assert (kit.field(first, "release"), kit.field(first, "rules")) == ("one", '{"setup":null}')
    assert kit.finish((first, 1, "c1"), WORKED, fields)["state"] == "SUCCESS"
    step = kit.submit(project="p", options={"headers": {"root_id": first}})
    assert dispatched(kit, step, "two") == {"said": "fixed", "release": "one"}, "a canvas runs one release"
    kit.close()


def test_a_dispatch_that_safe_mode_refused_is_asked_for_as_soon_as_that_is_over(kit: Kit) -> None:
    kit.renew("a")
    present(kit)
    run = kit.submit(project="p")
    kit.another_server()
    kit.redis.delete(dispatch_queue("a"))  # its hint was taken
    assert kit.claims.dispatch("begin", run, "d", node="a", actor="d")["said"] == "refused"
    present(kit)
    assert kit.sweep()["moved"] == 1, "not only when the hint is overdue"
    assert kit.redis.llen(dispatch_queue("a")) == 1
    assert kit.sweep()["moved"] == 0, "and once"
    assert dispatched(kit, run, "one")["said"] == "ok"
    kit.check()


def dispatched(kit: Kit, run: str, release: str, **more: str) -> dict[str, Any]:
    kit.claims.dispatch("begin", run, "d", node="a", actor="d")
    return kit.claims.dispatch("end", run, "d", node="a", actor="d", release=release, **more)


@pytest.mark.parametrize("safe", [True, False])
def test_a_run_the_ledger_has_forgotten_is_restored_whole(kit: Kit, safe: bool) -> None:  # noqa: FBT001
    kit.renew("a")
    run = kit.submit(idempotency_key="k", options={"embed": {"callbacks": [{}]}}, name="über", retries=2)
    fields = kit.claimed(run)
    forget(kit, run)
    if safe:
        kit.another_server()
    answer = kit.renew("a", ((run, 1, "c1"),))
    assert (answer["attempts"][f"{run}@1"], answer["present"]) == ({"unsure": True}, True)
    assert kit.finish((run, 1, "c1"), WORKED, fields)["said"] == "safe"
    assert present(kit, held(run, 1, "c1", fields))["taken"] == [run]
    kit.check()
    now = kit.redis.hgetall(kit.key("run", run))
    for name in ("spec", "queue", "hint", "canvas", "name", "idem", "submitted_at", "timeout_s", "attempt", "claim"):
        assert now[name] == fields[name], name
    assert kit.submit(idempotency_key="k", name="über", retries=2) == run
    assert kit.finish((run, 1, "c1"), WORKED, fields)["state"] == "SUCCESS"
    assert kit.runs.unsettled() == [run]
    kit.check()


def forget(kit: Kit, run: str) -> None:
    """Take a run out of the ledger as if it had never been there."""
    state = kit.state(run)
    kit.redis.delete(kit.key("run", run), kit.key("story", run), kit.key("idem", "k"))
    kit.redis.hincrby(kit.key("counts"), state, -1)
    for index in ("live", "recent", "ids", "due"):
        kit.redis.zrem(kit.key(index), run)
    kit.redis.srem(kit.key("node", "a", "live"), run)


@pytest.mark.parametrize(
    "broken", [{}, {"spec": "{}"}, {"spec": 1, "queue": None, "timeout_s": "1", "lost_after_s": "1"}]
)
def test_a_record_that_is_not_whole_restores_nothing(kit: Kit, broken: dict[str, Any]) -> None:
    kit.renew("a")
    assert present(kit, {**held("r1", 1, "c1", None), "fields": broken})["fenced"] == ["r1"]
    assert kit.runs.get("r1") is None


def test_of_two_attempts_the_later_one_is_followed_in_any_order(kit: Kit) -> None:
    kit.renew("a")
    kit.renew("b")
    for order in (1, -1):
        run = kit.submit(node=None)
        first = kit.claimed(run, "c1", node="a")
        kit.finish((run, 1, "c1"), LOST)
        second = kit.claimed(run, "c2", node="b")
        forget(kit, run)
        kit.redis.srem(kit.key("node", "b", "live"), run)
        kit.another_server()
        says = [("a", held(run, 1, "c1", first, ended=True)), ("b", held(run, 2, "c2", second))]
        for node, attempt in says[::order]:
            present(kit, attempt, node=node)
        assert (kit.state(run), kit.field(run, "attempt"), kit.field(run, "lost")) == ("STARTED", "2", "1")
        kit.check()


@pytest.mark.parametrize("told", ["FAILURE", "REVOKED"])
def test_an_end_that_was_announced_is_announced_again_whatever_was_asked_meanwhile(kit: Kit, told: str) -> None:
    kit.renew("a")
    run = kit.submit()
    fields = kit.claimed(run)
    if told == "REVOKED":
        kit.runs.cancel(run)
    assert kit.finish((run, 1, "c1"), FAILED, fields)["state"] == told
    announced = kit.meta(run)
    kit.redis.zrem(kit.key("ended"), run)
    forget(kit, run)
    present(kit, held(run, 1, "c1", fields, ended=True, told=told))
    if told == "FAILURE":
        kit.runs.cancel(run)
    assert kit.finish((run, 1, "c1"), FAILED, fields)["state"] == told
    now = kit.meta(run)
    assert announced is not None
    assert now is not None
    assert (now["status"], now["result"]["exc_message"][1]) == (told, announced["result"]["exc_message"][1])
    kit.check()


def test_a_real_outcome_that_comes_after_the_run_was_given_up_is_kept_once_as_an_event(kit: Kit) -> None:
    run = kit.submit(node=None, retry_on=["exit_code"])
    fields = kit.claimed(run)
    kit.pass_time(121)
    assert kit.sweep()["lost"] == [run]
    kit.redis.hset(kit.key("run", run), "claim", "taken over")
    assert kit.finish((run, 1, "taken over"), LOST, lapsed=True)["state"] == "FAILURE"
    for _ in range(3):
        assert kit.finish((run, 1, "c1"), WORKED, fields)["said"] == "fenced"
    late = [event for event in kit.runs.events(run) if event.cause == "late outcome: exit code 0"]
    assert [(event.token, event.to_state) for event in late] == [("1:c1", "FAILURE")]
    assert kit.state(run) == "FAILURE"


def test_a_number_that_was_forgotten_is_reported_after_it_was_presented(kit: Kit) -> None:
    kit.renew("a")
    run = kit.submit()
    fields = kit.claimed(run)
    kit.redis.hset(kit.key("run", run), mapping={"state": State.QUEUED, "attempt": 0, "claim": ""})
    kit.redis.hset(kit.key("counts"), mapping={"QUEUED": 1, "STARTED": 0})
    kit.redis.srem(kit.key("node", "a", "live"), run)
    assert kit.finish((run, 1, "c1"), WORKED, fields)["said"] == "safe"
    assert kit.renew("a", ((run, 1, "c1"),))["attempts"][f"{run}@1"] == {"unsure": True}
    assert present(kit, held(run, 1, "c1", fields, ended=True))["taken"] == [run]
    assert kit.finish((run, 1, "c1"), WORKED, fields)["state"] == "SUCCESS"


def test_an_end_that_was_announced_waits_for_its_node_longer_than_a_lease(kit: Kit) -> None:
    kit.renew("a")
    run = kit.submit(node=None)
    fields = kit.claimed(run)
    kit.finish((run, 1, "c1"), FAILED, fields)
    kit.redis.zrem(kit.key("ended"), run)
    forget(kit, run)
    present(kit, held(run, 1, "c1", fields, ended=True, told="FAILURE"))
    for _ in range(2):
        kit.pass_time(500)
        kit.sweep()
        assert kit.state(run) == "STARTED"
        kit.renew("a", ((run, 1, "c1"),))
    assert kit.finish((run, 1, "c1"), FAILED, fields)["state"] == "FAILURE"
    kit.check()
