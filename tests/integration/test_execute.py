"""A hint in a worker's hands: real ledger, real folders, real shims; what deaths leave behind is put there."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest
from ledger_kit import LOST, Kit
from waiting import eventually

from infra_tasks import live
from infra_tasks.live import Token
from infra_tasks.model.run import Reason, State
from infra_tasks.report import report
from infra_tasks.routing import GUARDIAN
from infra_tasks.runner.attempt import Attempt
from infra_tasks.runner.exitrecord import write_exit
from infra_tasks.submit import submit
from workers.keeping import Keeper
from workers.minding import Minder

if TYPE_CHECKING:
    from executor_rig import ExecutorRig
    from redis_process import RedisProcess


@pytest.fixture
def rig(executor_rig: ExecutorRig) -> ExecutorRig:
    return executor_rig


def test_a_number_whose_claim_never_arrived_is_left_out(rig: ExecutorRig):
    run = rig.submit()
    token = Token(run, 1, "never-arrived")
    attempt = Attempt(rig.home.attempt(run, 1))
    fd = attempt.take_lock()
    assert fd is not None
    live.enter(rig.home, token)
    os.close(fd)  # the child is dead now, and Redis never heard of its claim
    minder = Minder(rig.home, rig.ledger, "n1")

    def struck_off() -> bool:
        entries = list(live.attempts(rig.home))
        minder.run_once(entries)
        minder.report_ended(entries)
        return not list(live.attempts(rig.home))

    eventually(struck_off, 20, "the agent buries the attempt and strikes it off")
    assert rig.ledger.runs.peek(run) == ("QUEUED", 0)
    verdict = rig.executor.follow(run)
    assert (verdict.said, verdict.result["attempt"], verdict.result["state"]) == ("final", 2, State.SUCCESS)


def test_a_refused_claim_leaves_no_trace(rig: ExecutorRig):
    run = rig.submit()
    rig.ledger.nodes.cordon("n1", "test")
    assert rig.executor.follow(run).said == "dropped"
    assert not (rig.home.runs / run).exists()
    assert not list(live.attempts(rig.home))


@pytest.mark.parametrize("folder", ["runs", "live"])
def test_a_node_that_cannot_even_begin_an_attempt_claims_nothing_and_leaves_the_run_to_the_sweep(
    rig: ExecutorRig, folder: str
):
    run = rig.submit()
    (rig.home.root / folder).write_text("a file where a folder belongs: refused as by a full disk")
    verdict = rig.executor.follow(run)
    assert verdict.said == "dropped"
    assert "no room for an attempt" in verdict.cause
    assert rig.ledger.runs.peek(run) == ("QUEUED", 0)
    (rig.home.root / folder).unlink()
    assert rig.executor.follow(run).result["state"] == State.SUCCESS


def test_an_end_that_is_told_and_cannot_be_noted_for_want_of_room_is_told_again_later(rig: ExecutorRig):
    run = rig.submit()
    note = rig.home.attempt(run, 1) / "reported"
    note.mkdir(parents=True)  # a folder where a file belongs: refused as by a full disk
    assert rig.executor.follow(run).result["state"] == State.SUCCESS
    assert [one.token.run for one in live.attempts(rig.home)] == [run]
    note.rmdir()
    minder = Minder(rig.home, rig.ledger, "n1")

    def struck_off() -> bool:
        entries = list(live.attempts(rig.home))
        minder.run_once(entries)
        minder.report_ended(entries)
        return not list(live.attempts(rig.home))

    eventually(struck_off, 20, "the agent tells it again and strikes it off")


def test_an_id_that_would_leave_the_folder_is_nobodys_run(rig: ExecutorRig):
    assert rig.executor.follow("../../outside").said == "unknown"
    assert not (rig.home.root.parent / "outside").exists()


def test_code_that_cannot_be_brought_is_tried_again_while_retries_are_left(rig: ExecutorRig):
    from infra_tasks.dispatch import dispatch

    run = rig.submit(project="gone", retries=1, retry_backoff_s=0)
    assert dispatch(rig.here.current(), rig.ledger, run).said.startswith("sync failed, tried again later")
    assert rig.ledger.runs.peek(run)[0] == "PENDING"
    eventually(
        lambda: dispatch(rig.here.current(), rig.ledger, run).said.startswith("sync failed: "), 10, "the second try"
    )
    ended = rig.ledger.runs.get(run)
    assert ended is not None
    assert (ended.state, ended.reason) == (State.FAILURE, Reason.SYNC_FAILED)
    assert "nowhere" in ended.fields["cause"]


def test_old_folders_go_and_those_of_living_runs_stay(rig: ExecutorRig):
    done, bare, living = (Attempt(rig.home.attempt(uuid4().hex, 1)) for _ in range(3))
    for attempt in (done, bare, living):
        fd = attempt.take_lock()
        assert fd is not None
        if attempt is not living:
            os.close(fd)
    run = rig.submit()
    rig.executor.follow(run)
    (rig.home.runs / ".DS_Store").write_text("a stray file")
    Keeper(rig.home).look(keep_days=-1)
    assert [path.name for path in rig.home.runs.iterdir() if path.is_dir()] == [living.folder.parent.name]


def test_two_attempts_of_one_run_get_an_answer_each(redis_process: RedisProcess):
    kit = Kit(redis_process.url)
    run = kit.submit(node=None)
    kit.claimed(run, "c1")
    kit.finish((run, 1, "c1"), LOST)
    kit.claimed(run, "c2")
    for order in ([(run, 1, "c1"), (run, 2, "c2")], [(run, 2, "c2"), (run, 1, "c1")]):
        said = kit.renew("a", tuple(order))["attempts"]
        assert said[f"{run}@1"]["fenced"]
        assert "fenced" not in said[f"{run}@2"]
    kit.close()


def test_what_arrives_after_the_lease_was_given_up_is_kept_and_survivors_cordon_the_node(redis_process: RedisProcess):
    kit = Kit(redis_process.url)
    run = kit.submit(node=None, retry_on=[])
    kit.renew("a")
    kit.claimed(run, "c1")
    kit.pass_time(300)
    assert kit.finish((run, 1, "c1"), {**LOST, "outcome": "lost"}, lapsed=True)["state"] == State.FAILURE
    assert kit.finish((run, 1, "c1"), {"outcome": "exited", "exit_code": 0, "survivors": 2})["said"] == "fenced"
    assert kit.runs.events(run)[-1].cause == "late outcome: exit code 0"
    assert next(node for node in kit.nodes.all() if node.name == "a").cordoned
    kit.close()


def test_the_child_that_told_an_end_has_seconds_for_what_follows_it_before_anybody_else_is_asked(rig: ExecutorRig):
    run = submit(rig.ledger, rig.here.current().fleet, {"command": ["true"], "node": "n1"}, embed={"callbacks": [{}]})
    client, key = rig.ledger.scripts.client, rig.ledger.scripts.key
    assert rig.executor.follow(run).said == "final"
    assert rig.ledger.runs.unsettled() == [run]
    assert client.zscore(key("due"), run) - client.zscore(key("unsettled"), run) >= 5
    assert not any(run in text for text in client.lrange(GUARDIAN, 0, -1))


def test_an_announced_end_is_presented_as_it_was_announced(rig: ExecutorRig):
    from infra_tasks.report import told_state

    plain, cancelled = rig.submit(command=["false"]), rig.submit(command=["false"])
    rig.executor.follow(plain)
    attempt = Attempt(rig.home.attempt(plain, 1))
    assert told_state(attempt, (attempt.record() or {})["fields"]) == State.FAILURE
    claim, other = rig.ledger.claims.claim, Attempt(rig.home.attempt(cancelled, 1))
    token = Token(cancelled, 1, "c")
    fields = claim(*token, node="n1", uuid=rig.here.current().uuid, slots=2, labels=[], actor="t")["fields"]
    rig.ledger.runs.cancel(cancelled)
    fd = other.take_lock()
    assert fd is not None
    other.write_record({**(attempt.record() or {}), **token._asdict(), "fields": fields})
    write_exit(other.path, {**(attempt.exit_record() or {}), **token._asdict()})
    os.close(fd)
    answer = report(rig.home, rig.ledger, token, other, actor="t", waited_for=False)
    assert (answer["state"], told_state(other, fields)) == (State.REVOKED, State.REVOKED)


def test_a_spec_of_a_newer_version_is_not_carried_out_in_part_and_says_which_node_is_too_old(rig: ExecutorRig):
    run = rig.submit(retries=3, retry_on=["exit_code"])
    kit = rig.ledger.runs
    text = kit.get(run).fields["spec"]
    kit._redis.hset(kit._key("run", run), "spec", text[:-1] + ',"gpus":2}')
    result = rig.executor.follow(run).result
    assert (result["state"], result["reason"], result["attempt"]) == ("FAILURE", "start_failed", 1)
    assert "gpus means nothing to infra" in result["stderr_tail"]
    assert "upgrade that node" in kit.get(run).fields["cause"]
    assert not (rig.home.attempt(run, 1) / "started.json").exists()
