"""Runs for any node go to whoever has a free slot: a slow node takes less by itself, a full one keeps none back."""

from __future__ import annotations

from collections import Counter

import pytest
from caller import Caller
from waiting import eventually

pytestmark = pytest.mark.fleet

SLOTS = 2
MANY, SOME = 60, 12
# On n3 a command goes on until the other two nodes have ended twelve more, three for each of their slots: it is slowed
# to a third whatever the machine does. When none are left for them, it need not wait.
A_THIRD_ON_N3 = """
cd "$0"
ended() { ls fast | wc -l; }
if [ "$INFRA_NODE" != n3 ]; then exec touch "fast/$INFRA_RUN"; fi
touch "slow/$INFRA_RUN"
goal=$(($(ended) + 12))
until [ "$(ended)" -ge "$goal" ] || [ "$(($(ended) + $(ls slow | wc -l)))" -ge "$1" ]; do sleep 0.1; done
"""
WAIT_FOR = 'touch "$0/$INFRA_NODE.$INFRA_RUN"; until [ -e "$0/$1" ]; do sleep 0.05; done'


def accept(*specs):
    from infra_tasks import submit_many

    return [result.id for result in submit_many(list(specs))]


@pytest.fixture(scope="module")
def call(three):
    one = Caller(three["n1"].env)
    yield one
    one.close()


@pytest.fixture(scope="module")
def book(three):
    opened = three["n1"].ledger()
    yield opened
    opened.close()


def have_ended(book, runs):
    return lambda: all(run.state == "SUCCESS" for run in book.runs.get_many(runs))


def took(book, runs):
    return Counter(run.claim_node for run in book.runs.get_many(runs))


def filled(call, folder, node):
    """Fill a node; return the runs, which end when there is a file with the node's name."""
    runs = call(accept, *[{"command": ["sh", "-c", WAIT_FOR, str(folder), node], "node": node}] * SLOTS)
    eventually(lambda: len(list(folder.glob(f"{node}.*"))) == SLOTS, 60, f"{node} is full")
    return runs


def test_a_node_slowed_to_a_third_takes_its_lesser_share_and_holds_up_nothing(call, book, tmp_path):
    for name in ("fast", "slow"):
        (tmp_path / name).mkdir()
    for node in ("n1", "n2", "n3"):
        filled(call, tmp_path, node)
    runs = call(accept, *[{"command": ["sh", "-c", A_THIRD_ON_N3, str(tmp_path), str(MANY)]}] * MANY)
    (tmp_path / "n3").touch()
    eventually(lambda: len(list((tmp_path / "slow").iterdir())) == SLOTS, 60, "n3 is at it")
    for node in ("n1", "n2"):
        (tmp_path / node).touch()
    eventually(have_ended(book, runs), 120, "all have run")
    shares = took(book, runs)
    assert SLOTS <= shares["n3"] <= MANY / 4, shares


def test_a_node_full_of_commands_that_outlived_its_worker_keeps_no_hint_from_the_others(three, call, book, tmp_path):
    blockers = {node: filled(call, tmp_path, node) for node in ("n1", "n2", "n3")}
    runs = call(accept, *[{"command": ["true"]}] * SOME)
    key = book.scripts.key("waiting", "pool._any")
    pushed = dict(book.scripts.client.zrange(key, 0, -1, withscores=True))
    assert set(pushed) == set(runs)
    three["n3"].kill("worker")  # the next one has free children, and takes hints with them

    def was_asked():
        now = dict(book.scripts.client.zrange(key, 0, -1, withscores=True))
        return any(now[run] > pushed[run] for run in runs)

    eventually(was_asked, 60, "the new worker of n3 took a hint, and was told that its node is full")
    for node in ("n1", "n2"):
        (tmp_path / node).touch()
    try:
        eventually(have_ended(book, runs), 60, "the others ran them all")
        assert set(took(book, runs)) <= {"n1", "n2"}
        assert not any(run.final for run in book.runs.get_many(blockers["n3"]))
    finally:
        (tmp_path / "n3").touch()
    eventually(have_ended(book, [*blockers["n3"], *blockers["n1"], *blockers["n2"]]), 60, "the blockers end")
