"""A whole node per test file, and per test a file for the effects of its commands."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from effects import Caller, Effects
from whole_node import WholeNode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from infra_tasks.ledger import Ledger


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WholeNode]:
    """A node with two slots."""
    one = WholeNode(tmp_path_factory.mktemp("node"))
    try:
        yield one.up()
    finally:
        print(one.logs())  # noqa: T201  shown when a test fails
        one.close()


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
    """Start a caller: submits its specs and waits, in a process of its own."""
    callers: list[Caller] = []

    def start(*specs: dict[str, Any]) -> Caller:
        folder = tmp_path / f"caller{len(callers)}"
        folder.mkdir()
        callers.append(Caller(node, specs, folder))
        return callers[-1]

    yield start
    for caller in callers:
        caller.close()
