"""What parts of a fleet must agree on: nodes and projects that are named exist, and no two nodes share a folder."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations
from posixpath import normpath
from typing import Any

from infra_tasks.model.complaints import Complaint, found, path_text
from infra_tasks.model.nearest import did_you_mean
from infra_tasks.model.ssh_address import LOCAL, ssh_address

Entries = Mapping[tuple[str, ...], Mapping[str, Any]]


def cross_complaints(raw: Mapping[str, Any]) -> list[Complaint]:
    """Return what disagrees. `raw` may be wrong in any way: what is no object is passed over."""
    return [*_unknown_names(raw), *_shared_roots(_entries(raw, "nodes"))]


def _unknown_names(raw: Mapping[str, Any]) -> list[Complaint]:
    projects: Entries = {("projects", name): entry for name, entry in _entries(raw, "projects").items()}
    specs: Entries = {
        ("schedules", name, "spec"): spec
        for name, entry in _entries(raw, "schedules").items()
        if isinstance(spec := entry.get("spec"), Mapping)
    }
    return [
        *_unknown({**projects, **specs}, "node", raw.get("nodes")),
        *_unknown(specs, "project", raw.get("projects", {}), "there is none"),
    ]


def _unknown(entries: Entries, kind: str, known: object, none: str = "") -> list[Complaint]:
    """Return which entries name a node or project that is not known; where none can be, only if `none` says so."""
    if not isinstance(known, Mapping) or not (known or none):
        return []
    those = f"known: {', '.join(path_text((each,)) for each in known)}" if known else none
    return [
        Complaint(
            path := (*place, kind),
            f"{path_text(path)}: found {found(wanted)}, no such {kind}{did_you_mean(wanted, known)} ({those})",
        )
        for place, entry in entries.items()
        if isinstance(wanted := entry.get(kind), str) and wanted not in known
    ]


def _shared_roots(nodes: Mapping[str, Any]) -> list[Complaint]:
    places = {name: place for name, node in nodes.items() if (place := _place(node))}
    return [
        Complaint(
            path := ("nodes", second, "root"),
            f"{path_text(path)}: found {found(nodes[second]['root'])}, the folder of "
            f"{path_text(('nodes', first))} on the same machine; every node needs its own",
        )
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
