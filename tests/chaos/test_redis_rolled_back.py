"""Redis comes back with older files: safe mode ends by itself, no end is undone, nothing runs twice (DESIGN 4)."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest
from waiting import eventually
from whole_node import WholeNode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from effects import Caller, Effects

    from infra_tasks.ledger import Ledger

pytestmark = pytest.mark.chaos

SAFE_MODE_S = 40


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WholeNode]:
    """A node with four slots."""
    one = WholeNode(tmp_path_factory.mktemp("node"), slots=4)
    try:
        yield one.up()
    finally:
        print(one.logs())  # noqa: T201  shown when a test fails
        one.close()


def roll_back(node: WholeNode, older: Path) -> None:
    """Stop the node, put the older files of Redis in place, start the node."""
    stopped = node.python("-m", "workers.watcher", "--down", within_s=240)
    assert stopped.returncode == 0, stopped.stderr
    assert not node.role_pid("redis")
    shutil.rmtree(node.home / "redis")
    shutil.copytree(older, node.home / "redis")
    node.up()


def is_safe_mode_over(book: Ledger) -> bool:
    client = book.scripts.client
    return not client.hget("infra:epoch", "safe")


def test_ends_stay_and_what_runs_is_taken_in_though_redis_came_back_with_older_files(
    node: WholeNode, book: Ledger, effects: Effects, call: Callable[..., Caller], tmp_path: Path
):
    may_end, short_may_end = tmp_path / "may-end", tmp_path / "short-may-end"
    long = call({"command": effects.command(code=3, habits=(f"until:{may_end}",))})  # in the old files, running
    short = call({"command": effects.command(habits=(f"until:{short_may_end}",))})  # in the old files as running
    eventually(lambda: len(effects.stamps("start")) >= 2, 30, "both run")
    older = tmp_path / "older"
    shutil.copytree(node.home / "redis", older)
    short_may_end.touch()
    waits = effects.command(habits=(f"until:{may_end}",))
    forgotten = call({"command": effects.command()}, {"command": waits})  # not in the old files
    eventually(lambda: len(effects.stamps("start")) >= 4, 30, "all run")
    (short_result,) = short.results()
    early = forgotten.accepted()[0]
    eventually(lambda: book.runs.get(early).final, 30, "the forgotten one has ended")
    early_result = book.runs.get(early).result

    roll_back(node, older)
    eventually(lambda: is_safe_mode_over(book), SAFE_MODE_S, "safe mode is over")
    may_end.touch()
    for run_id, result in ((short.accepted()[0], short_result), (early, early_result)):
        run = eventually(lambda run_id=run_id: final(book, run_id), 30, "its end is known again")
        assert (run.state, run.result) == ("SUCCESS", result)
        assert result["state"] == "SUCCESS"
    assert [(one["state"], one["exit_code"], one["attempt"]) for one in long.results()] == [("FAILURE", 3, 1)]
    assert [(one["state"], one["attempt"]) for one in forgotten.results()] == [("SUCCESS", 1)] * 2
    after = call({"command": effects.command()})
    assert [one["state"] for one in after.results()] == ["SUCCESS"]
    everyone = [*long.accepted(), *short.accepted(), *forgotten.accepted(), *after.accepted()]
    assert sorted(one.run for one in effects.stamps("start")) == sorted(everyone)
    assert not node.run_processes()


def final(book: Ledger, run_id: str):
    run = book.runs.get(run_id)
    return run if run and run.final else None
