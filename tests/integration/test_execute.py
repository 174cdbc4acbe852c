"""A hint in a worker's hands: real ledger, real folders, real shims; what deaths leave behind is put there."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest
from ledger_kit import LOST, Kit
from waiting import eventually

from infra_tasks import live
from infra_tasks.execute import Executor
from infra_tasks.live import Token
from infra_tasks.model.run import Reason, State
from infra_tasks.node import NodeHere
from infra_tasks.report import report
from infra_tasks.runner.attempt import Attempt
from infra_tasks.runner.exitrecord import write_exit
from infra_tasks.runner.launch import Zygote
from infra_tasks.settings import Home
from infra_tasks.submit import submit
from workers.keeping import Keeper
from workers.minding import Minder

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from redis_process import RedisProcess

    from infra_tasks.ledger import Ledger


class Rig:
    """One node's executor without Celery."""

    def __init__(self, home: Home, ledger: Ledger, broker: str) -> None:
        self.home = home
        self.ledger = ledger
        self.zygote = Zygote()
        home.nodes_json.write_text(
            json.dumps(
                {
                    "fleet": "t",
                    "broker": broker,
                    "nodes": {"n1": {"ssh": "local", "root": str(home.root)}, "n2": {"ssh": "a@b", "root": "/r"}},
                    "projects": {"gone": {"source": str(home.root / "nowhere"), "node": "n1"}},
                }
            )
        )
        self.here = NodeHere(home)
        self.executor = Executor(self.here.current, ledger, self.zygote)

    def submit(self, **spec: object) -> str:
        return submit(self.ledger, self.here.current().fleet, {"command": ["true"], "node": "n1", **spec})


@pytest.fixture
def rig(tmp_path: Path, ledger: Ledger, redis_process: RedisProcess) -> Iterator[Rig]:
    made = Rig(Home(tmp_path), ledger, redis_process.url)
    yield made
    made.zygote.close()


def test_a_number_whose_claim_never_arrived_is_left_out(rig: Rig):
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


def test_a_refused_claim_leaves_no_trace(rig: Rig):
    run = rig.submit()
    rig.ledger.nodes.cordon("n1", "test")
    assert rig.executor.follow(run).said == "dropped"
    assert not (rig.home.runs / run).exists()
    assert not list(live.attempts(rig.home))


def test_an_id_that_would_leave_the_folder_is_nobodys_run(rig: Rig):
    assert rig.executor.follow("../../outside").said == "unknown"
    assert not (rig.home.root.parent / "outside").exists()


def test_code_that_cannot_be_brought_is_tried_again_while_retries_are_left(rig: Rig):
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


def test_old_folders_go_and_those_of_living_runs_stay(rig: Rig):
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


def test_an_announced_end_is_presented_as_it_was_announced(rig: Rig):
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
