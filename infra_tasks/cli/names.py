"""Names a user gave for nodes and projects: found among the known ones, or refused with the nearest of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from infra_tasks.errors import BadInput

if TYPE_CHECKING:
    from collections.abc import Collection

    from infra_tasks.ledger import Ledger
    from infra_tasks.model.fleet import Fleet, Node, Project


def node_named(fleet: Fleet, name: str) -> Node:
    """Return the node. Raises BadInput."""
    check_name("node", name, fleet.nodes)
    return fleet.nodes[name]


def project_named(fleet: Fleet, name: str) -> Project:
    """Return the project. Raises BadInput."""
    check_name("project", name, fleet.projects)
    return fleet.projects[name]


def check_node(fleet: Fleet, ledger: Ledger, name: str) -> None:
    """Raise BadInput for a node that is not in nodes.json and never spoke."""
    if name not in fleet.nodes:
        check_name("node", name, sorted({*fleet.nodes, *(node.name for node in ledger.nodes.all())}))


def check_name(kind: str, name: str | None, known: Collection[str]) -> None:
    """Raise BadInput for the name of a node or project that is not among the known ones; None is any."""
    if name is None or name in known:
        return
    from infra_tasks.model.nearest import did_you_mean  # noqa: PLC0415  difflib is only loaded for a mistake

    those = f"known: {', '.join(known)}" if known else f"there is none: `infra init --{kind} NAME=PATH` adds one"
    raise BadInput(f"no {kind} {name!r}{did_you_mean(name, known)} ({those})")
