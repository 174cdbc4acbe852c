"""A node that does not know all of a spec gives the run back where another node may take it, and says why."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from infra_tasks.execute import OLDER

if TYPE_CHECKING:
    from collections.abc import Iterator

    from executor_rig import ExecutorRig
    from ledger_kit import Kit

OLD = {"node": "a", "version": "1"}


@pytest.fixture
def kit(kit: Kit) -> Iterator[Kit]:
    yield kit
    kit.check()


@pytest.fixture
def label(kit: Kit) -> Iterator[str]:
    """A pool of this test's own: lists of the broker have no prefix."""
    name = kit.prefix[:-1]
    yield name
    kit.redis.delete(f"pool.{name}")


def claim(kit: Kit, run: str, label: str, **node: str) -> dict[str, object]:
    said = {**OLD, **node}
    number = kit.runs.peek(run)[1] + 1
    return kit.claims.claim(
        run, number, f"c{number}", uuid=f"uuid-{said['node']}", slots=2, labels=[label], actor="t", **said
    )


def decline(kit: Kit, run: str) -> str:
    number = kit.runs.peek(run)[1]
    return kit.claims.decline(run, number, f"c{number}", cause="too old", actor="worker a", **OLD)["said"]


def has_hint(kit: Kit, run: str) -> bool:
    return kit.redis.zscore(kit.key("waiting", kit.field(run, "queue")), run) is not None


def pooled(kit: Kit, label: str, **spec: object) -> str:
    return kit.submit(node=None, labels=[label], **spec)


def test_what_a_node_declines_goes_to_others_and_uses_no_retry(kit: Kit, label: str) -> None:
    run = pooled(kit, label, retries=1)
    queue = kit.field(run, "queue")
    assert kit.redis.rpop(queue)
    assert claim(kit, run, label)["said"] == "claimed"
    assert [decline(kit, run), decline(kit, run)] == ["declined", "declined"], "asked again, the same"
    assert (kit.state(run), kit.redis.llen(queue)) == ("QUEUED", 1)
    assert kit.runs.events(run)[-1].cause == "too old"
    kit.check()
    assert claim(kit, run, label, node="b")["said"] == "claimed"
    kit.finish((run, 2, "c2"))
    assert (kit.state(run), kit.field(run, "retries_used")) == ("SUCCESS", "")


def test_who_declined_is_not_asked_again_for_a_while_and_keeps_nothing_back(kit: Kit, label: str) -> None:
    run = pooled(kit, label)
    queue = kit.field(run, "queue")
    claim(kit, run, label)
    decline(kit, run)
    other = pooled(kit, label)
    kit.redis.delete(queue)
    kit.redis.lpush(queue, "the hint of the other")
    said = claim(kit, run, label)
    assert (said["said"], said["why"], said["handed_back"]) == ("refused", "older", True)
    assert kit.redis.rpop(queue) == "the hint of the other", "the other one is next"
    assert claim(kit, other, label)["said"] == "claimed"
    assert kit.runs.peek(run)[1] == 1, "no further number is used"
    kit.pass_time(601)
    assert claim(kit, run, label)["said"] == "claimed"


def test_who_declined_and_was_upgraded_may_take_it(kit: Kit, label: str) -> None:
    run = pooled(kit, label)
    claim(kit, run, label)
    decline(kit, run)
    assert claim(kit, run, label, version="2")["said"] == "claimed"


def test_asked_again_after_the_next_node_took_it_a_node_hears_that_it_has_declined(kit: Kit, label: str) -> None:
    run = pooled(kit, label)
    claim(kit, run, label)
    decline(kit, run)
    claim(kit, run, label, node="b")
    said = kit.claims.decline(run, 1, "c1", cause="too old", actor="worker a", **OLD)["said"]
    assert (said, kit.state(run), kit.field(run, "claim_node")) == ("declined", "STARTED", "b")


@pytest.mark.parametrize(
    ("before", "spec"), [(1, {"name": "n", "max_running": 1}), (32, {})], ids=["of its name", "in its lane"]
)
def test_what_a_node_is_too_old_for_holds_up_none_that_it_knows(
    kit: Kit, label: str, before: int, spec: dict[str, object]
) -> None:
    new = [pooled(kit, label, **spec) for _ in range(before)]
    for run in new:
        claim(kit, run, label)
        decline(kit, run)
    known = pooled(kit, label, **spec)
    for run in new:
        assert claim(kit, run, label)["said"] == "refused"
    assert has_hint(kit, known), "else no node of this version comes to it before the fleet is upgraded"
    assert claim(kit, known, label)["said"] == "claimed"
    kit.finish((known, kit.runs.peek(known)[1], kit.field(known, "claim")))
    assert claim(kit, new[0], label, node="b")["said"] == "claimed"


def test_what_is_pinned_or_is_to_be_cancelled_is_not_given_back(kit: Kit, label: str) -> None:
    pinned, cancelled = kit.submit(node="a"), pooled(kit, label)
    for run in (pinned, cancelled):
        claim(kit, run, label)
    kit.runs.cancel(cancelled)
    assert [decline(kit, run) for run in (pinned, cancelled)] == ["refused", "refused"]
    assert kit.claims.decline(pinned, 1, "another", cause="x", actor="t", **OLD)["said"] == "refused"
    assert [kit.state(run) for run in (pinned, cancelled)] == ["STARTED", "STARTED"]


def test_a_node_gives_back_a_spec_of_a_newer_version_and_has_no_trace_of_it(executor_rig: ExecutorRig) -> None:
    rig = executor_rig
    run = rig.submit(node=None)
    kit = rig.ledger.runs
    text = kit.get(run).fields["spec"]
    kit._redis.hset(kit._key("run", run), "spec", text[:-1] + ',"gpus":2}')
    for _ in range(2):
        verdict = rig.executor.follow(run)
        assert (verdict.said, verdict.cause) == ("dropped", OLDER)
    assert kit.peek(run) == ("QUEUED", 1)
    assert "gpus means nothing to infra" in kit.events(run)[-1].cause
    assert "on n1; upgrade that node" in kit.events(run)[-1].cause
    assert list(rig.home.live.iterdir()) == []
    assert not rig.home.attempt(run, 1).exists()
