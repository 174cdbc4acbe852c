"""One whole node, mended by its own watcher between the tests that break it; per test a file for effects."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest
from effects import Caller, Effects
from waiting import eventually
from whole_node import ROLES, WholeNode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from infra_tasks.ledger import Ledger


@pytest.fixture(scope="session")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WholeNode]:
    """A node with two slots and a user's plain tasks."""
    one = WholeNode(tmp_path_factory.mktemp("node"))
    one.env["INFRA_INCLUDE"] = "following"
    one.env["PYTHONPATH"] += os.pathsep + str(Path(__file__).parent)
    try:
        yield one.up()
    finally:
        print(one.logs())  # noqa: T201  shown when a test fails
        one.close()


@pytest.fixture(autouse=True)
def _whole(node: WholeNode) -> Iterator[None]:
    """Begin with every role alive, and leave no run to the next test, whatever became of this one."""
    if not node.watcher_pid():
        node.up()
    eventually(lambda: all(node.role_pid(role) for role in ROLES), 60, "every role lives")
    yield
    for process in node.run_processes():
        with suppress(psutil.Error):
            process.kill()


@pytest.fixture
def book(node: WholeNode) -> Iterator[Ledger]:
    """The node's ledger, from outside."""
    opened = node.ledger()
    yield opened
    opened.close()


@pytest.fixture
def effects(tmp_path: Path) -> Effects:
    return Effects(tmp_path / "effects")


@pytest.fixture
def call(node: WholeNode, tmp_path: Path) -> Iterator[Callable[..., Caller]]:
    """Start a caller: submits its specs (if none are given, later) and waits, in a process of its own."""
    callers: list[Caller] = []

    def start(*specs: dict[str, Any]) -> Caller:
        folder = tmp_path / f"caller{len(callers)}"
        folder.mkdir()
        callers.append(Caller(node, folder))
        return callers[-1].submit(*specs) if specs else callers[-1]

    yield start
    for caller in callers:
        caller.close()
