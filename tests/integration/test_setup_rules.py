"""How a release is made ready travels with the run: the node that takes it need not know the project."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from ledger_kit import Kit

from infra_tasks import releases
from infra_tasks.dispatch import dispatch
from infra_tasks.execute import Executor
from infra_tasks.model.run import Reason, State
from infra_tasks.model.setup_rules import SetupRules
from infra_tasks.node import NodeHere
from infra_tasks.runner.launch import Zygote
from infra_tasks.settings import Home
from infra_tasks.submit import submit

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from redis_process import RedisProcess

    from infra_tasks.ledger import Ledger

SETUP = "echo ready > made.txt"
SHOW = ["sh", "-c", "cat made.txt; pwd"]


class Two:
    """Node `n1` has the project's source; node `n2` has a nodes.json of its own."""

    def __init__(self, root: Path, ledger: Ledger, broker: str) -> None:
        self.root = root
        self.ledger = ledger
        self.broker = broker
        self.homes = {name: Home(root / name) for name in ("n1", "n2")}
        self.zygote = Zygote()
        (root / "source").mkdir()
        (root / "source" / "code.txt").write_text("code")
        for home in self.homes.values():
            home.root.mkdir()

    def fleet(self, name: str, **project: Any) -> NodeHere:
        """Write a node's own nodes.json, with the project if it is described, and return the node."""
        nodes = {
            each: {"ssh": "local" if each == name else "u@nowhere.invalid", "root": str(home.root)}
            for each, home in self.homes.items()
        }
        projects = {"p": {"source": str(self.root / "source"), "node": "n1", **project}} if project else {}
        said = {"fleet": "t", "broker": self.broker, "nodes": nodes, "projects": projects}
        self.homes[name].nodes_json.write_text(json.dumps(said))
        return NodeHere(self.homes[name])

    def bring(self, name: str) -> str:
        """Have the release on a node, however it came there; return its digest."""
        source = releases.Source(self.root / "source")
        digest = releases.snapshot(self.homes[name], "p", source).digest
        return releases.ensure_release(self.homes[name], "p", digest, source=source).digest

    def queued(self, rules: str | None, **spec: Any) -> str:
        """Return a run for n2 that was dispatched with these rules."""
        me = self.fleet("n1", setup=SETUP).current()
        run = submit(self.ledger, me.fleet, {"command": SHOW, "project": "p", "node": "n2", **spec})
        move = self.ledger.claims.dispatch
        assert move("begin", run, "d", node="n1", actor="t")["said"] == "ok"
        assert move("end", run, "d", node="n1", actor="t", release=self.bring("n2"), rules=rules)["said"] == "ok"
        return run

    def follow(self, here: NodeHere, run: str) -> dict[str, Any]:
        verdict = Executor(here.current, self.ledger, self.zygote).follow(run)
        assert verdict.said == "final", verdict
        return verdict.result


@pytest.fixture
def two(tmp_path: Path, ledger: Ledger, redis_process: RedisProcess) -> Iterator[Two]:
    made = Two(tmp_path, ledger, redis_process.url)
    yield made
    made.zygote.close()


def rules(**said: Any) -> str:
    return SetupRules(**{"setup": SETUP, "setup_timeout_s": 60.0, **said}).to_json()


def test_dispatch_writes_into_the_run_how_its_release_is_made_ready(two: Two):
    me = two.fleet("n1", setup=["sh", "-c", SETUP], setup_timeout_s=61, private=True).current()
    run = submit(two.ledger, me.fleet, {"command": SHOW, "project": "p", "node": "n1"})
    assert dispatch(me, two.ledger, run).said.startswith("queued")
    recorded = two.ledger.runs.get(run)
    assert recorded is not None
    assert SetupRules.of_run(recorded.fields["rules"], None) == SetupRules(("sh", "-c", SETUP), 61.0, private=True)


def test_a_node_that_does_not_know_the_project_sets_it_up_all_the_same(two: Two):
    run = two.queued(rules())
    result = two.follow(two.fleet("n2"), run)
    assert (result["state"], result["stdout_tail"].split()[0]) == (State.SUCCESS, "ready")


def test_a_run_that_asks_for_a_private_copy_has_it_on_any_node(two: Two):
    run = two.queued(rules(private=True))
    result = two.follow(two.fleet("n2"), run)
    assert result["stdout_tail"].split()[1].endswith(f"{run}/1/private")


@pytest.mark.parametrize(("of_project", "of_spec", "is_private"), [(False, True, True), (True, False, False)])
def test_a_spec_may_ask_for_a_private_copy_or_for_none(two: Two, of_project, of_spec, is_private):
    run = two.queued(rules(private=of_project), private=of_spec)
    result = two.follow(two.fleet("n2"), run)
    assert result["stdout_tail"].split()[1].endswith("/private") is is_private


def test_the_rules_are_those_of_the_dispatch_whatever_the_node_thinks_by_now(two: Two):
    run = two.queued(rules())
    result = two.follow(two.fleet("n2", setup="echo other > made.txt"), run)
    assert result["stdout_tail"].split()[0] == "ready"


def test_a_record_without_rules_is_carried_out_by_the_nodes_own_file(two: Two):
    run = two.queued(None)
    result = two.follow(two.fleet("n2", setup="echo own > made.txt"), run)
    assert result["stdout_tail"].split()[0] == "own"


def test_rules_are_kept_from_the_first_dispatch_on(two: Two):
    run = two.queued(rules(setup="echo first > made.txt"), retries=1)
    two.ledger.scripts.client.hset(two.ledger.scripts.key("run", run), "state", "PENDING")
    move = two.ledger.claims.dispatch
    assert move("begin", run, "d2", node="n1", actor="t")["said"] == "ok"
    release = two.bring("n2")
    assert move("end", run, "d2", node="n1", actor="t", release=release, rules=rules())["said"] == "ok"
    assert two.follow(two.fleet("n2"), run)["stdout_tail"].split()[0] == "first"


def test_a_setup_that_fails_elsewhere_is_a_start_that_failed_with_its_output(two: Two):
    run = two.queued(rules(setup="echo this went wrong >&2; exit 3"))
    result = two.follow(two.fleet("n2"), run)
    assert (result["state"], result["reason"]) == (State.FAILURE, Reason.START_FAILED)
    assert "this went wrong" in result["stderr_tail"]


def test_a_folder_of_the_same_name_on_another_node_is_not_taken_for_the_source(two: Two):
    run = two.queued(rules(), retry_on=["exit_code"])  # not to wait for the node that has the code
    release = two.homes["n2"].projects / "p" / "releases" / two.bring("n2")
    for path in (release, release / "code.txt"):
        path.chmod(0o755)
    (release / "code.txt").write_text("harm")
    result = two.follow(two.fleet("n2", setup=SETUP), run)
    assert (result["state"], result["reason"]) == (State.FAILURE, Reason.SYNC_FAILED)


def test_a_run_that_the_ledger_forgot_is_restored_with_its_rules(redis_process: RedisProcess):
    kit = Kit(redis_process.url)
    kit.renew("a")
    run = kit.submit(project="p")
    kit.claims.dispatch("begin", run, "d", node="a", actor="a")
    kit.claims.dispatch("end", run, "d", node="a", actor="a", release="r" * 64, rules=rules())
    fields = kit.claimed(run)
    kit.another_server()
    kit.redis.delete(kit.key("run", run), kit.key("node", "a", "live"))
    said = {"run": run, "attempt": 1, "claim": "c1", "ended": False, "fields": fields}
    assert kit.claims.present("a", "uuid-a", [said], done=True)["taken"] == [run]
    assert kit.field(run, "rules") == rules()
    kit.close()


def test_rules_of_an_unknown_project_are_none_and_what_a_newer_version_adds_is_passed_over():
    assert SetupRules.of(None) == SetupRules.from_json("{}") == SetupRules()
    assert SetupRules.from_json('{"setup": "x", "more": 1}') == SetupRules("x")
