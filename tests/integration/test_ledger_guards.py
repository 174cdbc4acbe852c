"""Each guard of the scripts is held by a check, and each check fails once its guard is taken out of the Lua text."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from ledger_kit import FAILED, LOST, WORKED, Kit, without

from infra_tasks.errors import InfraError

if TYPE_CHECKING:
    from collections.abc import Callable

    from redis_process import RedisProcess


def an_old_token_cannot_end_a_run(kit: Kit) -> None:
    run = kit.submit()
    kit.claimed(run, "c1")
    kit.finish((run, 1, "c1"), LOST)
    kit.claimed(run, "c2")
    assert kit.finish((run, 1, "c1"), WORKED)["said"] == "fenced"
    assert kit.state(run) == "STARTED"
    assert kit.finish((run, 2, "other"), FAILED)["said"] == "fenced"
    kit.check()


def an_old_token_cannot_start(kit: Kit) -> None:
    run = kit.submit(node=None, project="p")
    kit.claims.dispatch("begin", run, "d1", node="a", actor="a")
    kit.claims.dispatch("end", run, "d1", node="a", actor="a", release="r" * 64)
    kit.claimed(run, "c1")
    kit.pass_time(121)
    kit.sweep()
    assert kit.claims.start(run, 1, "c1", release="r" * 64, actor="a")["said"] == "fenced"
    kit.claimed(run, "c2", node="b")
    assert kit.claims.start(run, 1, "c1", release="r" * 64, actor="a")["said"] == "fenced"
    assert kit.claims.start(run, 2, "c1", release="r" * 64, actor="a")["said"] == "fenced"
    assert kit.claims.start(run, 2, "c2", release="r" * 64, actor="b")["said"] == "ok"
    kit.check()


def an_old_token_cannot_start_a_run_that_waits(kit: Kit) -> None:
    run = kit.submit()
    kit.claimed(run, "c1")
    kit.finish((run, 1, "c1"), LOST)
    assert kit.claims.start(run, 1, "c1", release="", actor="a")["said"] == "fenced"


def an_old_token_is_not_renewed(kit: Kit) -> None:
    run = kit.submit(node=None)
    kit.claimed(run, "c1")
    kit.finish((run, 1, "c1"), LOST)
    assert kit.renew("a", ((run, 1, "c1"),))["attempts"][f"{run}@1"].get("fenced")
    kit.claimed(run, "c2", node="b")
    assert kit.renew("a", ((run, 1, "c1"),))["attempts"][f"{run}@1"].get("fenced")


def slots_are_not_exceeded(kit: Kit) -> None:
    runs = [kit.submit() for _ in range(3)]
    said = [kit.claim(run, slots=2)["said"] for run in runs]
    assert said == ["claimed", "claimed", "refused"]
    kit.finish((runs[0], 1, "c1"))
    kit.claimed(runs[2], slots=2)
    kit.check()


def an_attempt_number_is_given_once(kit: Kit) -> None:
    run = kit.submit()
    kit.claimed(run, "c1", attempt=1)
    kit.finish((run, 1, "c1"), LOST)
    assert kit.claim(run, "c2", attempt=1)["why"] == "attempt"
    assert kit.claim(run, "c1", attempt=1)["why"] == "attempt"
    kit.claimed(run, "c3", attempt=4)  # 2 and 3 were buried before their claims arrived
    kit.check()


def only_a_queued_run_is_claimed(kit: Kit) -> None:
    later, running = kit.submit(options={"delay_s": 60.0}), kit.submit()
    kit.claimed(running, "c1")
    assert kit.claim(later, attempt=1)["why"] == "state"
    assert kit.claim(running, "c2", attempt=2, node="a")["why"] == "state"
    kit.check()


def a_claim_that_is_over_is_not_given_again(kit: Kit) -> None:
    run = kit.submit()
    kit.claimed(run, "c1")
    assert kit.claim(run, "c1", attempt=1)["said"] == "claimed"
    kit.finish((run, 1, "c1"), LOST)
    assert kit.claim(run, "c1", attempt=1)["said"] == "refused"
    assert kit.state(run) == "QUEUED"


def final_is_final(kit: Kit) -> None:
    run = kit.submit()
    kit.claimed(run)
    assert kit.finish((run, 1, "c1"), WORKED)["state"] == "SUCCESS"
    meta = kit.meta(run)
    again = kit.finish((run, 1, "c1"), FAILED)
    assert (again["said"], again["state"]) == ("final", "SUCCESS")
    assert kit.runs.cancel(run) == "SUCCESS"
    assert kit.runs.expire(run) == "SUCCESS"
    assert kit.meta(run) == meta
    kit.check()


def nothing_is_claimed_in_safe_mode(kit: Kit) -> None:
    kit.renew("a")
    run = kit.submit()
    kit.another_server()
    assert kit.claim(run, attempt=1).get("why") == "safe"


def nothing_is_ended_in_safe_mode(kit: Kit) -> None:
    kit.renew("a")
    run, waiting = kit.submit(), kit.submit(expires_s=1)
    kit.claimed(run)
    kit.another_server()
    assert kit.finish((run, 1, "c1"))["said"] == "safe"
    kit.pass_time(2)
    assert kit.runs.expire(waiting) == "QUEUED"
    assert kit.sweep()["said"] == "safe"
    kit.check()


def an_order_that_is_repeated_is_carried_out_once(kit: Kit) -> None:
    run = kit.submit(timeout_s=60)
    for _ in range(3):
        said = kit.scripts.call("extend", run=run, by_s=10, ceiling_s=7200, actor="u", nonce="n1")
        assert said["timeout_s"] == 70


def a_cordoned_node_gets_nothing(kit: Kit) -> None:
    run = kit.submit()
    kit.nodes.cordon("a", "test")
    assert kit.claim(run)["said"] == "refused"
    kit.nodes.uncordon("a")
    kit.claimed(run)


def a_node_without_the_labels_gets_nothing(kit: Kit) -> None:
    run = kit.submit(node=None, labels=["gpu", "big"])
    assert kit.claim(run, labels=("gpu",))["said"] == "refused"
    kit.claimed(run, labels=("big", "gpu", "x"))


def another_node_gets_nothing_of_a_pinned_run(kit: Kit) -> None:
    run = kit.submit(node="a")
    assert kit.claim(run, node="b")["said"] == "refused"


def a_second_machine_of_the_same_name_gets_nothing(kit: Kit) -> None:
    kit.renew("a")
    run = kit.submit()
    assert kit.claim(run, uuid="another")["said"] == "refused"
    assert kit.claims.present("a", "another", [], done=True)["said"] == "stranger"


def a_cancelled_attempt_is_not_run_again(kit: Kit) -> None:
    for end in (FAILED, LOST):
        run = kit.submit(retries=3)
        kit.claimed(run)
        assert kit.runs.cancel(run) == "STARTED"
        assert kit.finish((run, 1, "c1"), end)["state"] == "REVOKED"
    kit.check()


def a_lapsed_lease_of_a_cancelled_run_is_not_run_again(kit: Kit) -> None:
    run = kit.submit(node=None)
    kit.claimed(run)
    kit.runs.cancel(run)
    kit.pass_time(121)
    assert kit.sweep()["lost"] == [run]
    assert kit.finish((run, 1, "c1"), LOST, lapsed=True)["state"] == "REVOKED"
    kit.check()


def an_end_said_by_the_sweep_needs_a_lapsed_lease(kit: Kit) -> None:
    run = kit.submit(node=None, retry_on=["exit_code"])
    kit.claimed(run)
    kit.pass_time(121)
    assert kit.sweep()["lost"] == [run]
    kit.renew("a", ((run, 1, "c1"),))
    assert kit.finish((run, 1, "c1"), LOST, lapsed=True)["said"] == "alive"
    assert kit.state(run) == "STARTED"


def a_dispatcher_that_was_given_up_cannot_end_or_fail_a_run(kit: Kit) -> None:
    from infra_tasks.model.run import Reason

    run = kit.submit(project="p")
    kit.claims.dispatch("begin", run, "d1", node="a", actor="a")
    kit.pass_time(46)
    kit.sweep()
    assert kit.state(run) == "PENDING"
    kit.claims.dispatch("begin", run, "d2", node="b", actor="b")
    assert kit.claims.dispatch("end", run, "d1", node="a", actor="a", release="r")["said"] == "refused"
    assert kit.runs.fail_waiting(run, Reason.SYNC_FAILED, "no", "a", dispatch="d1") == "SYNCING"
    assert kit.runs.fail_waiting(run, Reason.SYNC_FAILED, "no", "b", dispatch="d2") == "FAILURE"
    kit.check()


def settling_a_run_that_goes_on_changes_nothing(kit: Kit) -> None:
    run = kit.submit(node=None)
    kit.claimed(run)
    kit.claims.settle(run)
    kit.check()


def a_claim_on_its_way_is_not_taken_for_a_lost_write(kit: Kit) -> None:
    kit.renew("a")
    run = kit.submit()
    kit.another_server()
    said = kit.claims.present("a", "uuid-a", [{"run": run, "attempt": 1, "claim": "c1", "ended": False}], done=True)
    assert said["fenced"] == [run]
    assert kit.state(run) == "QUEUED"


def one_of_a_name(kit: Kit) -> list[str]:
    """Return a run that has the only place of its name, and one that waits for it."""
    runs = [kit.submit(node=None, name="n", max_running=1, retries=1) for _ in range(2)]
    kit.claimed(runs[0], "c1")
    return runs


def no_more_of_a_name_run_than_it_says(kit: Kit) -> None:
    runs = one_of_a_name(kit)
    assert kit.claim(runs[1], "c2", node="b").get("why") == "running"
    kit.check()


def who_ends_gives_the_place_to_the_next(kit: Kit) -> None:
    runs = one_of_a_name(kit)
    kit.claim(runs[1], "c2")
    assert kit.field(runs[1], "in_line").startswith("name:n@")
    kit.finish((runs[0], 1, "c1"), FAILED)
    assert not kit.field(runs[1], "in_line"), "it waits for a retry, and has no place meanwhile"
    kit.claimed(runs[1], "c2")
    kit.check()


def whose_lease_ended_gives_the_place_to_the_next(kit: Kit) -> None:
    runs = one_of_a_name(kit)
    kit.pass_time(121)
    kit.sweep()
    assert not kit.field(runs[1], "in_line")
    kit.check()


def who_is_cancelled_in_front_of_a_line_lets_the_next_through(kit: Kit) -> None:
    runs = [kit.submit(node=None, name="n", max_running=1) for _ in range(2)]
    kit.runs.cancel(runs[0])
    assert not kit.field(runs[1], "in_line")
    kit.check()


def a_claim_shown_in_safe_mode_has_its_place(kit: Kit) -> None:
    kit.renew("a")
    runs = one_of_a_name(kit)
    fields = kit.redis.hgetall(kit.key("run", runs[0]))
    kit.finish((runs[0], 1, "c1"), LOST)
    kit.another_server()
    shown = {"run": runs[0], "attempt": 2, "claim": "c2", "ended": False, "fields": fields}
    assert kit.claims.present("a", "uuid-a", [shown], done=True)["taken"] == [runs[0]]
    kit.check()


CHECKS = {check.__name__: check for check in (
    an_old_token_cannot_end_a_run, an_old_token_cannot_start,
    an_old_token_cannot_start_a_run_that_waits, an_old_token_is_not_renewed, slots_are_not_exceeded,
    an_attempt_number_is_given_once, only_a_queued_run_is_claimed, a_claim_that_is_over_is_not_given_again,
    final_is_final, nothing_is_claimed_in_safe_mode, nothing_is_ended_in_safe_mode,
    an_order_that_is_repeated_is_carried_out_once, a_cordoned_node_gets_nothing,
    a_node_without_the_labels_gets_nothing, another_node_gets_nothing_of_a_pinned_run,
    a_second_machine_of_the_same_name_gets_nothing, a_cancelled_attempt_is_not_run_again,
    a_lapsed_lease_of_a_cancelled_run_is_not_run_again, an_end_said_by_the_sweep_needs_a_lapsed_lease,
    a_dispatcher_that_was_given_up_cannot_end_or_fail_a_run, settling_a_run_that_goes_on_changes_nothing,
    a_claim_on_its_way_is_not_taken_for_a_lost_write, no_more_of_a_name_run_than_it_says,
    who_ends_gives_the_place_to_the_next, whose_lease_ended_gives_the_place_to_the_next,
    who_is_cancelled_in_front_of_a_line_lets_the_next_through, a_claim_shown_in_safe_mode_has_its_place,
)}  # fmt: skip

# script, the guard as it stands there, what is put in its place, the check that must notice
MUTANTS = [
    (
        "finish",
        "if not mine then return refused('refused",
        "if false then return refused('refused",
        an_old_token_cannot_end_a_run,
    ),
    (
        "finish",
        "r[3] == A.claim and tonumber(r[2]) == A.attempt",
        "tonumber(r[2]) == A.attempt",
        an_old_token_cannot_end_a_run,
    ),
    ("finish", "if FINAL[state] then", "if false then", final_is_final),
    ("finish", "if guarded(now) or state == ''", "if state == ''", nothing_is_ended_in_safe_mode),
    ("finish", "if cancelled and A.to ~= 'SUCCESS' then", "if false then", a_cancelled_attempt_is_not_run_again),
    ("finish", "if A.lapsed and", "if false and", an_end_said_by_the_sweep_needs_a_lapsed_lease),
    ("start", "r[3] ~= A.claim or ", "", an_old_token_cannot_start),
    ("start", "or not held(r[1], r[5])", "", an_old_token_cannot_start_a_run_that_waits),
    (
        "renew",
        "r[3] == a.claim and tonumber(r[2]) == a.attempt and held(r[1], r[8])",
        "r[3] == a.claim",
        an_old_token_is_not_renewed,
    ),
    ("claim", "< A.slots\n", "< 99\n", slots_are_not_exceeded),
    ("claim", "if A.attempt <= last then", "if false then", an_attempt_number_is_given_once),
    ("claim", "if state ~= 'QUEUED' then", "if false then", only_a_queued_run_is_claimed),
    (
        "claim",
        "r[3] == A.claim and last == A.attempt and held(state, r[12])",
        "r[3] == A.claim",
        a_claim_that_is_over_is_not_given_again,
    ),
    ("claim", "if safe then return refused('safe') end", "", nothing_is_claimed_in_safe_mode),
    ("claim", "if n[2] == '1' then", "if false then", a_cordoned_node_gets_nothing),
    ("claim", "if not has[label] then", "if false then", a_node_without_the_labels_gets_nothing),
    ("claim", "if r[4] ~= '' and r[4] ~= A.node then", "if false then", another_node_gets_nothing_of_a_pinned_run),
    ("claim", "if n[1] and n[1] ~= A.uuid then", "if false then", a_second_machine_of_the_same_name_gets_nothing),
    ("claim", "  if is_full(gate) or is_kept", "  if is_kept", no_more_of_a_name_run_than_it_says),
    ("claim", "take_slot(A.run, A.node)\n", "\n", no_more_of_a_name_run_than_it_says),
    (
        "finish",
        "== 1 then let_all_through(what, now) end",
        "== 1 then end",
        who_ends_gives_the_place_to_the_next,
    ),
    ("sweep", "free_slot(id, r.claim_node, now)", "", whose_lease_ended_gives_the_place_to_the_next),
    (
        "cancel",
        "== 1 then go_on(line, now) end",
        "== 1 then end",
        who_is_cancelled_in_front_of_a_line_lets_the_next_through,
    ),
    ("present", "  take_slot(a.run, A.node)", "", a_claim_shown_in_safe_mode_has_its_place),
    ("cancel", "if FINAL[state] then", "if false then", final_is_final),
    ("cancel", "if guarded(now) then", "if false then", nothing_is_ended_in_safe_mode),
    (
        "cancel",
        "if A.dispatch and A.dispatch ~= r[4] then",
        "if false then",
        a_dispatcher_that_was_given_up_cannot_end_or_fail_a_run,
    ),
    (
        "dispatch",
        "r[1] == 'SYNCING' and r[2] == A.dispatch",
        "r[1] == 'SYNCING'",
        a_dispatcher_that_was_given_up_cannot_end_or_fail_a_run,
    ),
    ("extend", "local before = answered()", "local before", an_order_that_is_repeated_is_carried_out_once),
    ("sweep", "if guarded(now) then", "if false then", nothing_is_ended_in_safe_mode),
    ("sweep", "or r.cancel ~= ''", "", a_lapsed_lease_of_a_cancelled_run_is_not_run_again),
    ("settle", "not FINAL[state] then", "false then", settling_a_run_that_goes_on_changes_nothing),
    ("present", "type(a.fields) == 'table' and (safe", "(safe", a_claim_on_its_way_is_not_taken_for_a_lost_write),
    ("present", "if uuid and uuid ~= A.uuid then", "if false then", a_second_machine_of_the_same_name_gets_nothing),
]


@pytest.mark.parametrize("name", CHECKS)
def test_guard_holds(kit: Kit, name: str) -> None:
    CHECKS[name](kit)


@pytest.mark.parametrize(("script", "guard", "instead", "check"), MUTANTS, ids=[f"{m[0]}: {m[1]}" for m in MUTANTS])
def test_a_script_without_its_guard_is_caught(
    redis_process: RedisProcess, script: str, guard: str, instead: str, check: Callable[[Kit], None]
) -> None:
    kit = Kit(redis_process.url, text=without(script, guard, instead))
    with pytest.raises((AssertionError, InfraError, KeyError)):
        check(kit)
    kit.close()
