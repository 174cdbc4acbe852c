"""A backup is put back: safe mode is entered and left, no end is undone, nothing runs twice, the audit is clean."""

from __future__ import annotations

import json
import signal
from typing import TYPE_CHECKING

import pytest
from waiting import eventually
from whole_node import WholeNode

from infra_tasks.ledger.connect import fleet_of
from infra_tasks.settings import Home
from infra_tasks.submit import submit

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from effects import Effects

    from infra_tasks.ledger import Ledger

pytestmark = pytest.mark.chaos

SAFE_MODE_S = 40


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WholeNode]:
    """A node with two slots."""
    one = WholeNode(tmp_path_factory.mktemp("node"))
    try:
        yield one.up()
    finally:
        print(one.logs())  # noqa: T201  shown when a test fails
        one.close()


def asked(node: WholeNode, *arguments: str):
    """What a command answered, as JSON."""
    done = node.infra(*arguments, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def put_back(node: WholeNode, file: str):
    """Stop the node and leave its commands running, put a backup back, start it."""
    asked(node, "down", "--keep")
    said = asked(node, "restore", file)
    node.up()
    return said


def times_in_safe_mode(book: Ledger) -> tuple[int, int]:
    """How often the ledger says that safe mode began and ended."""
    kinds = [json.loads(text)["kind"] for text in book.scripts.client.lrange("infra:events", 0, -1)]
    return kinds.count("safe_mode_on"), kinds.count("safe_mode_off")


def safe_mode_came_and_went(book: Ledger, before: tuple[int, int]) -> None:
    wanted = (before[0] + 1, before[1] + 1)
    eventually(lambda: times_in_safe_mode(book) == wanted, SAFE_MODE_S, f"safe mode came and went: {wanted}")


def is_clean(node: WholeNode) -> None:
    """The audit finds nothing; asked again while something is on its way."""
    eventually(lambda: node.infra("audit", "--json").returncode == 0, 60, "the audit is clean")


def final(book: Ledger, run_id: str):
    run = book.runs.get(run_id)
    return run if run and run.final else None


def accepted(node: WholeNode, book: Ledger, *command: str) -> str:
    """The id of a run that was accepted."""
    home = Home(node.home)
    return submit(book, fleet_of(home), {"command": list(command)}, home=home)


def test_what_happened_after_the_backup_is_taken_in_and_so_it_is_when_it_is_put_back_again(
    node: WholeNode, book: Ledger, effects: Effects, tmp_path: Path
):
    may_end, short_may_end = tmp_path / "may-end", tmp_path / "short-may-end"
    early = accepted(node, book, *effects.command())
    eventually(lambda: final(book, early), 30, "one has ended before the backup")
    long = accepted(node, book, *effects.command(code=3, habits=(f"until:{may_end}",)))
    short = accepted(node, book, *effects.command(habits=(f"until:{short_may_end}",)))
    eventually(lambda: len(effects.stamps("start")) >= 3, 30, "both slots are taken")
    queued = accepted(node, book, *effects.command())

    made = asked(node, "backup", str(tmp_path))
    assert made["ledger"]["runs"] == {"SUCCESS": 1, "STARTED": 2, "QUEUED": 1}
    before = times_in_safe_mode(book)

    short_may_end.touch()
    forgotten = accepted(node, book, *effects.command())
    ended = {
        run_id: eventually(lambda run_id=run_id: final(book, run_id), 30, "it has ended since").result
        for run_id in (short, queued, forgotten)
    }
    second = accepted(node, book, *effects.command(habits=(f"until:{may_end}",)))
    eventually(lambda: effects.stamps("start", second), 30, "another one that the backup does not know runs")

    said = put_back(node, made["file"])
    safe_mode_came_and_went(book, before)
    for run_id, result in ended.items():
        run = eventually(lambda run_id=run_id: final(book, run_id), 30, "its end is known again")
        assert (run.state, run.result) == ("SUCCESS", result)
    assert book.runs.get(second).state == "STARTED"
    is_clean(node)

    again = put_back(node, made["file"])
    assert again["aside"] != said["aside"]
    safe_mode_came_and_went(book, before)
    may_end.touch()
    run = eventually(lambda: final(book, long), 30, "what ran all the time has ended")
    assert (run.state, run.result["exit_code"], run.result["attempt"]) == ("FAILURE", 3, 1)
    after = accepted(node, book, *effects.command())
    for run_id in (second, after, *ended):
        run = eventually(lambda run_id=run_id: final(book, run_id), 30, "it ended, or its end is known again")
        assert (run.state, run.result["attempt"]) == ("SUCCESS", 1)
        assert run.result == ended.get(run_id, run.result)
    everyone = [early, long, second, after, *ended]
    assert sorted(one.run for one in effects.stamps("start")) == sorted(everyone)
    assert not node.run_processes()
    is_clean(node)


CHAIN = """
import json, sys
from celery import chain
from infra_tasks import run_spec
last = chain(*(run_spec.s({"command": command}) for command in json.loads(sys.argv[1])))()
print(last.parent.id, last.id)
"""


def test_a_chain_whose_next_step_the_backup_does_not_know_goes_on_once(
    node: WholeNode, book: Ledger, effects: Effects, tmp_path: Path
):
    first_may_end, second_may_end = tmp_path / "first-may-end", tmp_path / "second-may-end"
    steps = [effects.command(habits=(f"until:{one}",)) for one in (first_may_end, second_may_end)]
    begun = node.python("-c", CHAIN, json.dumps(steps))
    assert begun.returncode == 0, begun.stderr
    first, second = begun.stdout.split()
    eventually(lambda: effects.stamps("start", first), 30, "the first step runs")
    made = asked(node, "backup", str(tmp_path))
    before = times_in_safe_mode(book)
    first_may_end.touch()
    eventually(lambda: effects.stamps("start", second), 30, "the second step runs")
    result = eventually(lambda: final(book, first), 30, "the first one has ended").result

    put_back(node, made["file"])
    safe_mode_came_and_went(book, before)
    assert eventually(lambda: final(book, first), 30, "its end is known again").result == result
    second_may_end.touch()
    run = eventually(lambda: final(book, second), 30, "the second one has ended")
    assert (run.state, run.result["attempt"]) == ("SUCCESS", 1)
    assert [one.run for one in effects.stamps("start")] == [first, second]
    is_clean(node)


def test_on_an_empty_machine_it_becomes_the_node_and_what_ran_on_the_old_one_runs_again(
    node: WholeNode, book: Ledger, effects: Effects, tmp_path: Path
):
    done = accepted(node, book, *effects.command())
    result = eventually(lambda: final(book, done), 30, "one has ended before the backup").result
    lost = accepted(node, book, *effects.command(600, 0))
    eventually(lambda: effects.stamps("start", lost), 30, "it runs")
    made = asked(node, "backup", str(tmp_path / "b.tar.zst"))
    node.kill("watcher", "agent", "control", "worker", "children", "beat", "flower", "redis")
    node.close()

    new = WholeNode(tmp_path / "new")
    (new.home / "nodes.json").unlink()
    try:
        said = asked(new, "restore", made["file"])
        assert said["aside"] is None
        assert "must stay off" in said["notes"][0]
        assert "says another root for n1" in said["notes"][1]
        fleet = json.loads((new.home / "nodes.json").read_text())
        new.put_fleet({**fleet, "nodes": {"n1": {**fleet["nodes"]["n1"], "root": str(new.home)}}})
        new.up()
        there = new.ledger()
        run = eventually(lambda: final(there, lost), 60, "what ran on the old machine was run again here")
        assert (run.state, run.result["attempt"]) == ("SUCCESS", 2)
        assert there.runs.get(done).result == result
        assert len(effects.stamps("start", lost)) == 2
        is_clean(new)
        there.close()
    finally:
        print(new.logs())  # noqa: T201  shown when a test fails
        new.close()


def test_a_node_whose_restore_was_killed_does_not_start_until_it_is_restored(
    node: WholeNode, book: Ledger, effects: Effects, tmp_path: Path
):
    known = accepted(node, book, *effects.command())
    result = eventually(lambda: final(book, known), 30, "one has ended").result
    made = asked(node, "backup", str(tmp_path))
    asked(node, "down")
    killed = node.python("-c", KILLED_HALF_WAY, made["file"])
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    refused = node.infra("up", "--detach")
    assert refused.returncode == 1
    assert "half of it does not start" in refused.stderr
    assert "infra restore" in refused.stderr

    said = asked(node, "restore", made["file"])
    assert {path.name for path in node.home.glob("before-restore-*")} >= {said["aside"].rpartition("/")[2]}
    assert not (node.home / "restoring.json").exists()
    node.up()
    assert book.runs.get(known).result == result
    is_clean(node)


# Dies as soon as the ledger's place is empty: the old one is aside, the new one is not there yet.
KILLED_HALF_WAY = """
import os, signal, sys
from infra_tasks.backup import moves
from infra_tasks.cli.entry import run

move = moves._move

def dying(path, to):
    if to.name == "redis" and path.parent.name == ".restore":
        os.kill(os.getpid(), signal.SIGKILL)
    move(path, to)

moves._move = dying
run(["restore", sys.argv[1]])
"""
