"""Code a node fetches for itself is told like code it was sent: logged, expected from then on, checked."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

import pytest

from infra_tasks.execute import Executor
from infra_tasks.ledger.code import HeldRelease
from infra_tasks.node import NodeHere
from infra_tasks.runner.launch import Zygote
from infra_tasks.submit import submit

if TYPE_CHECKING:
    from collections.abc import Iterator

    from far_node import FarNode
    from redis_process import RedisProcess

    from infra_tasks.ledger import Ledger


class Pulling:
    """The near node takes runs of a project it has no source of; the far one holds the release."""

    def __init__(self, far: FarNode, ledger: Ledger, broker: str) -> None:
        self.ledger = ledger
        self.asked: list[tuple[str, ...]] = []
        self.zygote = Zygote()
        taken = far.yard.snapshot()
        far.push(taken)
        self.digest = taken.digest
        self.home = far.yard.home
        shutil.rmtree(self.home.projects)
        fleet = json.loads(self.home.nodes_json.read_text())
        self.home.nodes_json.write_text(
            json.dumps({**fleet, "broker": broker, "projects": {"p": {"source": "/x", "node": "n2"}}})
        )
        ledger.code.publish_releases("n2", [HeldRelease(self.digest, "p", 0, 0, 1, 1, in_use=False)])
        self.executor = Executor(
            NodeHere(self.home).current, ledger, self.zygote, lambda *said: self.asked.append(said)
        )

    def queue(self, **more: Any) -> str:
        """Queue a run whose release is fixed."""
        spec = {"command": ["cat", "a"], "project": "p", "retry_on": [], **more}
        run = submit(self.ledger, NodeHere(self.home).current().fleet, spec)
        move = self.ledger.claims.dispatch
        assert move("begin", run, "d", node="n2", actor="t")["said"] == "ok"
        assert move("end", run, "d", node="n2", actor="t", release=self.digest)["said"] == "ok"
        return run

    def run(self) -> dict[str, Any]:
        """Queue one and carry it out here."""
        verdict = self.executor.follow(self.queue())
        assert verdict.said == "final", verdict
        return verdict.result


@pytest.fixture
def pulling(far: FarNode, ledger: Ledger, redis_process: RedisProcess) -> Iterator[Pulling]:
    made = Pulling(far, ledger, redis_process.url)
    yield made
    made.zygote.close()


def test_a_release_that_was_fetched_is_expected_and_checked_from_then_on(pulling: Pulling):
    assert pulling.run()["stdout_tail"] == "one"
    assert pulling.ledger.code.expected() == {("p", "n1"): pulling.digest}
    assert pulling.asked == [("n1", "p", pulling.digest)]
    entry = pulling.ledger.code.syncs()[0]
    assert (entry.why, entry.said, entry.source, entry.files) == ("pull", "brought", "n2", 4)
    pulling.run()
    assert len(pulling.asked) == len(pulling.ledger.code.syncs()) == 1, "it was there already"


def test_a_fetch_that_failed_is_in_the_sync_log(pulling: Pulling, far: FarNode):
    shutil.rmtree(far.shelf)
    assert pulling.run()["reason"] == "sync_failed"
    entry = pulling.ledger.code.syncs()[0]
    assert (entry.why, entry.said, entry.node, entry.release) == ("pull", "failed", "n1", pulling.digest)
    assert "nobody could give it" in (entry.error or "")
    assert pulling.ledger.code.expected() == {}
    assert pulling.asked == []


def test_a_run_waits_for_the_node_that_has_its_code(pulling: Pulling, far: FarNode, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("infra_tasks.execute.FETCH_AGAIN_S", 0)
    monkeypatch.setattr("infra_tasks.releases.remote.lines.AWAY_S", 0)
    run = pulling.queue(retry_on=["sync_failed"])
    far.server.cut()
    far.server.kill()
    assert pulling.executor.follow(run).said == "dropped"
    assert pulling.ledger.runs.peek(run)[0] == "QUEUED"
    far.server.restart()
    verdict = pulling.executor.follow(run)
    assert (verdict.said, verdict.result["state"], verdict.result["attempt"]) == ("final", "SUCCESS", 2), verdict.result
