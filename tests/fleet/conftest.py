"""Whole nodes for tests: one for all that leave it whole, and one per file for those that change or stop it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from caller import Caller
from network import Network, need_networks
from rsync_on_path import RsyncOnPath
from three_nodes import ThreeNodes
from whole_node import WholeNode

if TYPE_CHECKING:
    from collections.abc import Iterator

    from infra_tasks.ledger import Ledger


def started(home: Path) -> Iterator[WholeNode]:
    """Give a node that lives, with two slots, the label `gpu` and a user's plain tasks; end it."""
    one = WholeNode(home, labels=["gpu"])
    one.env["INFRA_INCLUDE"] = "plain_tasks"
    one.env["PYTHONPATH"] += os.pathsep + str(Path(__file__).parent)
    try:
        yield one.up()
    finally:
        print(one.logs())  # noqa: T201  shown when a test fails
        one.close()


@pytest.fixture(scope="session")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WholeNode]:
    """The node of all tests that leave it as it was."""
    yield from started(tmp_path_factory.mktemp("node"))


@pytest.fixture(scope="module")
def own_node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WholeNode]:
    """A node of this file alone: its tests change it or stop it."""
    yield from started(tmp_path_factory.mktemp("own"))


@pytest.fixture(scope="session")
def call(node: WholeNode) -> Iterator[Caller]:
    """A Python program beside the shared node."""
    one = Caller(node.env)
    yield one
    one.close()


@pytest.fixture(scope="module")
def own_call(own_node: WholeNode) -> Iterator[Caller]:
    """A Python program beside this file's own node."""
    one = Caller(own_node.env)
    yield one
    one.close()


@pytest.fixture
def own_book(own_node: WholeNode) -> Iterator[Ledger]:
    """The ledger of this file's own node; opened for each test, as its Redis may be stopped in between."""
    opened = own_node.ledger()
    yield opened
    opened.close()


@pytest.fixture(scope="session")
def book(node: WholeNode) -> Iterator[Ledger]:
    """The shared node's ledger, from outside."""
    opened = node.ledger()
    yield opened
    opened.close()


def three_started(folder: Path, network: Network | None = None) -> Iterator[ThreeNodes]:
    """Give three nodes that live; n2 and n3 have the label `far`, and whatever calls rsync on one of them is noted."""
    fleet = ThreeNodes(folder, network=network, labels={"n2": ["far"], "n3": ["far"]})
    try:
        for name, one in fleet.nodes.items():
            one.rsync = RsyncOnPath(folder / f"bin-{name}")
            one.env["PATH"] = one.rsync.path
        yield fleet.up()
    finally:
        print(fleet.logs())  # noqa: T201  shown when a test fails
        fleet.close()


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ThreeNodes]:
    """Three nodes on loopback."""
    yield from three_started(tmp_path_factory.mktemp("three"))


@pytest.fixture(scope="module")
def apart(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ThreeNodes]:
    """Three nodes in networks of their own, whose links can be cut."""
    need_networks()
    network = Network("n1", "n2", "n3")
    try:
        yield from three_started(tmp_path_factory.mktemp("apart"), network)
    finally:
        network.close()
