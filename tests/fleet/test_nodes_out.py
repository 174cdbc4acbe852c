"""Two nodes, of which one is cordoned, drained, or does not speak."""

from __future__ import annotations

import json
import os
import signal

import pytest
from three_nodes import ThreeNodes
from waiting import eventually

pytestmark = pytest.mark.fleet

QUEUES = """import json
from infra_tasks.app import app
print(json.dumps(app.control.inspect(["worker@n2"]).active_queues()))"""


CHAIN = """import sys
from celery import chain
from infra_tasks import run_spec
wait = {"command": f"while [ ! -e {sys.argv[1]} ]; do sleep 0.1; done", "project": "p", "node": "n2"}
last = chain(run_spec.s(wait), run_spec.s({"command": ["cat", "said"], "project": "p", "node": "n2"}))()
print(last.parent.id, last.id)"""


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    folder = tmp_path_factory.mktemp("two")
    (folder / "code").mkdir()
    (folder / "code" / "said").write_text("once")
    fleet = ThreeNodes(folder, names=("n1", "n2"))
    fleet.write(p=folder / "code")
    try:
        yield fleet.up()
    finally:
        print(fleet.logs())  # noqa: T201  shown when a test fails
        fleet.close()


@pytest.fixture
def book(two):
    opened = two["n1"].ledger()
    yield opened
    for name in two.nodes:
        opened.nodes.uncordon(name)
    opened.close()


def infra(two, *line):
    done = two["n1"].infra(*line)
    assert done.returncode == 0, done
    return done.stdout


def state(book, run_id):
    return book.runs.peek(run_id)[0]


def starts_on(book, run_id, node):
    eventually(lambda: state(book, run_id) == "STARTED", 60, "it starts")
    assert book.runs.get(run_id).claim_node == node


def test_a_cordoned_node_takes_from_no_pool_until_it_is_uncordoned(two, book):
    def takes_from_pools():
        said = json.loads(two["n1"].python("-c", QUEUES).stdout or "null") or {}
        queues = [queue["name"] for queue in said.get("worker@n2") or ()]
        return "pool._any" in queues if queues else None

    infra(two, "node", "cordon", "n2", "--why", "test")
    eventually(lambda: takes_from_pools() is False, 60, "its worker leaves the pools")
    ids = [infra(two, "run", "--detach", "--", "true").strip() for _ in range(3)]
    infra(two, "wait", *ids)
    assert {book.runs.get(run_id).claim_node for run_id in ids} == {"n1"}
    infra(two, "node", "uncordon", "n2")
    eventually(takes_from_pools, 60, "it is back in the pools")


def test_a_drain_at_its_deadline_stops_what_runs_and_another_node_runs_it(two, book):
    infra(two, "node", "cordon", "n1")
    run_id = infra(two, "run", "--detach", "--", "sh", "-c", "test $INFRA_ATTEMPT = 2 || sleep 300").strip()
    starts_on(book, run_id, "n2")
    infra(two, "node", "uncordon", "n1")
    said = json.loads(infra(two, "node", "drain", "n2", "--deadline", "1s", "--json"))
    assert said == {"node": "n2", "drained": True, "waiting": []}
    infra(two, "wait", run_id)
    run = book.runs.get(run_id)
    assert (run.claim_node, run.attempt, run.fields.get("retries_used", "0")) == ("n1", 2, "0")
    assert "drained by" in infra(two, "nodes")


def test_a_run_given_up_is_killed_when_its_node_comes_back(two, book):
    run_id = infra(two, "run", "--detach", "--node", "n2", "--", "sleep", "300").strip()
    starts_on(book, run_id, "n2")
    eventually(two["n2"].run_processes, 60, "its command runs")
    watcher = two["n2"].watcher_pid()
    os.kill(watcher, signal.SIGSTOP)
    try:
        two["n2"].kill("agent")
        eventually(lambda: two["n2"].role_pid("agent") is None, 30, "it says nothing more")
        _forty_seconds_pass(book, "n2")
        assert "UNREACHABLE" in infra(two, "runs", "--limit", "1")
        assert json.loads(infra(two, "abandon", run_id, "--yes", "--json"))["abandoned"] is True
        assert two["n2"].run_processes()
    finally:
        os.kill(watcher, signal.SIGCONT)
    eventually(lambda: not two["n2"].run_processes(), 60, "its node kills what is left of it")
    eventually(lambda: book.runs.events(run_id)[-1].cause.startswith("late outcome: "), 60, "it is told")
    assert state(book, run_id) == "FAILURE"


def test_with_the_source_away_a_chain_goes_on_with_what_a_living_node_holds(two, book, tmp_path):
    first, last = two["n2"].python("-c", CHAIN, str(tmp_path / "go")).stdout.split()
    starts_on(book, first, "n2")
    release = book.runs.get(first).release
    eventually(lambda: "n2" in book.code.holders("p", release), 60, "n2 says that it holds the release")
    two["n1"].close()
    new = two["n2"].infra("run", "--detach", "--project", "p", "--node", "n2", "--", "true").stdout.strip()
    (tmp_path / "go").touch()
    eventually(lambda: state(book, last), 60, "its second step is handed in")
    _forty_seconds_pass(book, "n1")
    eventually(lambda: state(book, last) == "SUCCESS", 60, "it ends well")
    assert book.runs.get(last).result["stdout_tail"] == "once"
    assert state(book, new) == "PENDING", "it needs a release that only the source can give"
    assert "n1 has been silent" in two["n2"].infra("why", new).stdout
    book.runs.cancel(new)


def _forty_seconds_pass(book, name):
    """By the clock of the ledger, and since the node spoke last."""
    redis, node, clock = book.scripts.client, book.scripts.key("node", name), book.scripts.key("clock")
    redis.hincrbyfloat(node, "seen_at", -40)
    redis.hincrbyfloat(clock, "now", 40)
