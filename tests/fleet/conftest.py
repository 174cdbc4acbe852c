"""A whole node per test file: started once, mended by its own watcher between the tests that break it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from whole_node import WholeNode

if TYPE_CHECKING:
    from collections.abc import Iterator

    from infra_tasks.ledger import Ledger


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WholeNode]:
    """A node with two slots and the label `gpu`."""
    one = WholeNode(tmp_path_factory.mktemp("node"), labels=["gpu"])
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
