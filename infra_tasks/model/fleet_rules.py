"""What parts of a fleet must agree on: a project's node exists, and no two nodes share a folder."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations
from posixpath import normpath
from typing import Any

from infra_tasks.model.complaints import found, path_text
from infra_tasks.model.nearest import did_you_mean
from infra_tasks.model.ssh_address import LOCAL, ssh_address


def cross_complaints(raw: Mapping[str, Any]) -> list[str]:
    """Return a sentence for each disagreement. `raw` may be wrong in any way: what is no object is passed over."""
    return [*_unknown_nodes(raw), *_shared_roots(_entries(raw, "nodes"))]


def _unknown_nodes(raw: Mapping[str, Any]) -> list[str]:
    nodes = raw.get("nodes")
    if not isinstance(nodes, Mapping) or not nodes:
        return []
    return [
        f"{path_text(('projects', name, 'node'))}: found {found(wanted)}, no such node"
        f"{did_you_mean(wanted, nodes)} (known: {', '.join(path_text((each,)) for each in nodes)})"
        for name, project in _entries(raw, "projects").items()
        if isinstance(wanted := project.get("node"), str) and wanted not in nodes
    ]


def _shared_roots(nodes: Mapping[str, Any]) -> list[str]:
    places = {name: place for name, node in nodes.items() if (place := _place(node))}
    return [
        f"{path_text(('nodes', second, 'root'))}: found {found(nodes[second]['root'])}, the folder of "
        f"{path_text(('nodes', first))} on the same machine; every node needs its own"
        for first, second in combinations(places, 2)
        if places[first] == places[second]
    ]


def _place(node: Mapping[str, Any]) -> tuple[str, ...] | None:
    """Return what tells a folder from all others, or None where the node is wrong anyway."""
    ssh, root = node.get("ssh"), node.get("root")
    if not isinstance(ssh, str) or not isinstance(root, str):
        return None
    try:
        address = ssh_address(ssh)
    except ValueError:
        return None
    machine = LOCAL if address is None else address.machine
    # Below ~ the folder depends on who logs in; who the local user is, is not known here.
    owner = "" if address is None or not root.startswith("~/") else address.user
    return machine, owner, normpath(root)


def _entries(raw: Mapping[str, Any], key: str) -> dict[str, Mapping[str, Any]]:
    table = raw.get(key)
    if not isinstance(table, Mapping):
        return {}
    return {name: entry for name, entry in table.items() if isinstance(entry, Mapping)}
