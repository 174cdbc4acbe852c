"""Ledger time: outages and jumps of the clock count ten seconds at most; moments of the wall clock come on time."""

from __future__ import annotations

import json
import time

import pytest
from ledger_kit import FAILED, LOST, Kit

from infra_tasks.model.spec import LEASE_MARGIN_S, RunSpec


def seen_ago(kit: Kit, seconds: float) -> None:
    """Let the last call have been so long ago on Redis' clock (less than 0: the clock was set back)."""
    kit.redis.hset(kit.key("clock"), "seen", f"{time.time() - seconds:.6f}")


@pytest.mark.parametrize(("away_s", "counted_s"), [(3, 3), (10, 10), (3600, 10), (-3600, 0)])
def test_an_outage_or_a_jump_of_the_clock_counts_ten_seconds_at_most(kit: Kit, away_s: float, counted_s: float) -> None:
    kit.renew()
    before, began = kit.now(), time.monotonic()
    seen_ago(kit, away_s)
    kit.renew()
    took_s = time.monotonic() - began  # that counts as well
    assert counted_s - 1 <= kit.now() - before <= min(counted_s + took_s, 10) + 1


def test_ledger_time_never_goes_back(kit: Kit) -> None:
    kit.renew()
    before = kit.now()
    for away_s in (-100, 5, -5, 50):
        seen_ago(kit, away_s)
        kit.renew()
        assert kit.now() >= before
        before = kit.now()


def test_a_run_of_a_pool_is_given_to_another_node_only_when_its_lease_has_ended(kit: Kit) -> None:
    run = kit.submit(node=None, lost_after_s=100, stop_after_s=50)
    kit.claimed(run, "c1", node="a")
    kit.pass_time(85)  # the true time counts as well
    kit.sweep()
    assert kit.state(run) == "STARTED"
    kit.pass_time(16)
    kit.sweep()
    assert kit.state(run) == "QUEUED"
    kit.claimed(run, "c2", node="b")
    assert kit.renew("a", ((run, 1, "c1"),))["attempts"][f"{run}@1"]["fenced"]
    kit.check()


def test_a_renewed_lease_lasts_from_its_renewal(kit: Kit) -> None:
    run = kit.submit(node=None)
    kit.claimed(run, "c1", node="a")
    for _ in range(5):
        kit.pass_time(100)
        kit.renew("a", ((run, 1, "c1"),))
        kit.sweep()
    assert kit.state(run) == "STARTED"
    kit.pass_time(121)
    kit.sweep()
    assert kit.state(run) == "QUEUED"


def test_a_pinned_run_has_no_lease(kit: Kit) -> None:
    run = kit.submit(node="a")
    kit.claimed(run, "c1")
    kit.pass_time(10_000)
    kit.sweep()
    assert kit.state(run) == "STARTED"
    assert kit.renew("a", ((run, 1, "c1"),))["attempts"][f"{run}@1"]["leased"] is False


def test_an_outage_of_an_hour_ends_no_lease(kit: Kit) -> None:
    run = kit.submit(node=None)
    kit.claimed(run, "c1")
    seen_ago(kit, 3600)
    kit.sweep()
    assert kit.state(run) == "STARTED"


def test_a_node_that_is_cut_off_has_stopped_before_its_lease_can_have_ended() -> None:
    spec = RunSpec(command=["true"])
    assert spec.stop_after_s + spec.grace_s + LEASE_MARGIN_S <= spec.lost_after_s


def test_a_countdown_is_over_when_the_wall_clock_says_so_also_after_an_outage(kit: Kit) -> None:
    run = kit.submit(options={"delay_s": 600.0})
    kit.sweep()
    assert kit.state(run) == "PENDING"
    kit.redis.zincrby(kit.key("moments"), -600, run)  # Redis was away for ten minutes
    seen_ago(kit, 600)
    kit.sweep()
    assert kit.state(run) == "QUEUED"
    kit.check()


def test_an_eta_in_the_past_is_now(kit: Kit) -> None:
    run = kit.submit(options={"at": time.time() - 5})
    assert kit.state(run) == "QUEUED"


def test_a_retry_waits_for_its_backoff(kit: Kit) -> None:
    run = kit.submit(retries=1, retry_backoff_s=30)
    kit.claimed(run)
    assert kit.finish((run, 1, "c1"), FAILED)["said"] == "retry"
    kit.sweep()
    assert kit.state(run) == "RETRY"
    kit.moment_comes(run)
    kit.sweep()
    assert kit.state(run) == "QUEUED"
    kit.claimed(run, "c2")
    assert kit.finish((run, 2, "c2"), FAILED)["state"] == "FAILURE"
    kit.check()


def test_a_retry_does_not_wait_for_a_wall_clock_that_was_set_back(kit: Kit) -> None:
    run = kit.submit(retries=1, retry_backoff_s=8)
    kit.claimed(run)
    assert kit.finish((run, 1, "c1"), FAILED)["said"] == "retry"
    kit.redis.zincrby(kit.key("moments"), 3600, run)  # as it looks from an hour before
    seen_ago(kit, -3600)
    kit.sweep()
    assert kit.state(run) == "RETRY"
    kit.pass_time(9)
    kit.sweep()
    assert kit.state(run) == "QUEUED"
    kit.claimed(run, "c2")
    assert kit.finish((run, 2, "c2"))["state"] == "SUCCESS"
    assert kit.redis.zcard(kit.key("pauses")) == 0
    kit.check()


def test_who_waits_for_its_dispatch_does_not_wait_for_a_wall_clock_that_was_set_back(kit: Kit) -> None:
    run = kit.submit(project="p", options={"at": time.time() + 3600})
    assert kit.claims.dispatch("begin", run, "d", node="a", actor="d")["said"] == "refused"
    kit.moment_comes(run)
    kit.sweep()
    kit.redis.hset(kit.key("run", run), "not_before", f"{time.time() + 3600}")  # as it looks from an hour before
    assert kit.claims.dispatch("begin", run, "d", node="a", actor="d")["said"] == "ok"
    kit.check()


def an_hour_before(kit: Kit, run: str) -> None:
    """Write what is known of a run as it looks when the wall clock was set back by an hour."""
    not_before = float(kit.field(run, "not_before")) + 3600
    kit.redis.hset(kit.key("run", run), "not_before", f"{not_before:.6f}")
    story = [json.loads(text) for text in kit.redis.lrange(kit.key("story", run), 0, -1)]
    kit.redis.delete(kit.key("story", run))
    for event in story:
        event["at"] = f"{float(event['at']) + 3600:.6f}"
        kit.redis.rpush(kit.key("story", run), json.dumps(event))
    kit.redis.zrem(kit.key("moments"), run)


@pytest.mark.parametrize("pause", ["known", "lost"])
def test_a_retry_that_is_mended_does_not_wait_for_a_wall_clock_that_was_set_back(kit: Kit, pause: str) -> None:
    run = kit.submit(retries=1, retry_backoff_s=8)
    kit.claimed(run)
    assert kit.finish((run, 1, "c1"), FAILED)["said"] == "retry"
    an_hour_before(kit, run)
    if pause == "lost":
        kit.redis.zrem(kit.key("pauses"), run)
    assert kit.scripts.call("mend", run=run)["did"] == ["its moment is watched again"]
    kit.sweep()
    assert kit.state(run) == "RETRY"
    kit.pass_time(9)
    kit.sweep()
    assert kit.state(run) == "QUEUED"
    kit.check()


def test_who_waits_for_its_dispatch_and_is_mended_does_not_wait_for_a_wall_clock_that_was_set_back(kit: Kit) -> None:
    run = kit.submit(project="p")
    kit.claims.dispatch("begin", run, "d", node="a", actor="d")
    kit.claims.dispatch("later", run, "d", node="a", actor="d", retry_in_s=1, cause="no code")
    kit.pass_time(2)
    kit.sweep()
    kit.claims.dispatch("begin", run, "e", node="a", actor="d")
    kit.pass_time(61)
    kit.sweep()
    assert [event.cause for event in kit.runs.events(run)][-1] == "its dispatch died"
    an_hour_before(kit, run)
    kit.redis.zrem(kit.key("waiting", "dispatch.a"), run)
    assert kit.scripts.call("mend", run=run)["did"] == ["put into its queue, with a hint"]
    kit.check()


def test_who_waits_for_a_moment_of_its_own_and_is_mended_waits_for_it_again(kit: Kit) -> None:
    run = kit.submit(options={"delay_s": 600.0})
    kit.redis.zrem(kit.key("moments"), run)
    assert kit.scripts.call("mend", run=run)["did"] == ["its moment is watched again"]
    kit.sweep()
    assert kit.state(run) == "PENDING"
    assert kit.redis.zcard(kit.key("pauses")) == 0
    kit.moment_comes(run)
    kit.sweep()
    assert kit.state(run) == "QUEUED"


def test_a_sweeper_that_died_is_followed_also_when_the_wall_clock_was_set_back(kit: Kit) -> None:
    kit.sweep("a")
    kit.redis.pexpire(kit.key("sweeper"), 3_600_000)  # as its end looks from an hour before
    assert kit.claims.sweep("b")["said"] == "other"
    kit.pass_time(60)
    assert kit.claims.sweep("b")["said"] == "ok"
    assert kit.claims.sweep("a")["said"] == "other"


@pytest.mark.parametrize("options", [{}, {"delay_s": 3600.0}])
def test_a_run_expires_also_while_it_waits_for_its_moment(kit: Kit, options: dict[str, float]) -> None:
    run = kit.submit(expires_s=5, options=options)
    kit.pass_time(6)
    assert kit.sweep()["expired"] == [run]
    assert kit.runs.expire(run) == "FAILURE"
    assert kit.field(run, "reason") == "expired"
    kit.check()


def test_a_run_that_expired_is_not_claimed(kit: Kit) -> None:
    run = kit.submit(expires_s=5)
    kit.pass_time(6)
    assert kit.claim(run)["why"] == "expired"


def test_a_run_that_is_lost_again_and_again_is_poisoned(kit: Kit) -> None:
    run = kit.submit()
    said = []
    for attempt in (1, 2, 3):
        kit.claimed(run, f"c{attempt}")
        said.append(kit.finish((run, attempt, f"c{attempt}"), LOST)["said"])
    assert said == ["requeued", "requeued", "final"]
    assert kit.field(run, "reason") == "poisoned"


def test_a_lease_that_ends_while_the_code_is_brought_loses_nothing(kit: Kit) -> None:
    run = kit.submit(node=None, project="p", retry_on=["exit_code"])
    kit.claims.dispatch("begin", run, "d1", node="a", actor="a")
    kit.claims.dispatch("end", run, "d1", node="a", actor="a", release="r")
    kit.claimed(run)
    kit.pass_time(121)
    assert kit.sweep()["lost"] == []
    assert (kit.state(run), kit.field(run, "lost"), kit.field(run, "unstarted")) == ("QUEUED", "", "1")
