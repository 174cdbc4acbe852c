"""Nodes that are reached over ssh, by the names a user gave."""

from __future__ import annotations

from typing import TYPE_CHECKING

from infra_tasks.cli.door import open_fleet
from infra_tasks.cli.names import node_named
from infra_tasks.errors import BadInput

if TYPE_CHECKING:
    from infra_tasks.model.ssh_address import SshAddress
    from infra_tasks.settings import Home


def peer_named(home: Home, name: str) -> SshAddress:
    """Return how a node is reached. Raises BadInput for an unknown node, and for one that is reached without ssh."""
    from infra_tasks.model.ssh_address import ssh_address  # noqa: PLC0415

    node = node_named(open_fleet(home), name)
    address = ssh_address(node.ssh)
    if address is None:
        raise BadInput(f"node {name!r} is on this machine (ssh is 'local' in nodes.json): it has no host key to accept")
    return address


def peers(home: Home) -> dict[str, SshAddress]:
    """Return all nodes that are reached over ssh."""
    from infra_tasks.model.ssh_address import ssh_address  # noqa: PLC0415

    found = {name: ssh_address(node.ssh) for name, node in open_fleet(home).nodes.items()}
    return {name: address for name, address in found.items() if address is not None}
