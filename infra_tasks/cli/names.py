"""Names a user gave for nodes and projects: found in nodes.json, or refused with the nearest known one."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from infra_tasks.errors import BadInput

if TYPE_CHECKING:
    from collections.abc import Mapping

    from infra_tasks.model.fleet import Fleet, Node, Project

Found = TypeVar("Found")


def node_named(fleet: Fleet, name: str) -> Node:
    """Return the node. Raises BadInput."""
    return _named("node", fleet.nodes, name)


def project_named(fleet: Fleet, name: str) -> Project:
    """Return the project. Raises BadInput."""
    return _named("project", fleet.projects, name)


def _named(kind: str, known: Mapping[str, Found], name: str) -> Found:
    if name in known:
        return known[name]
    from infra_tasks.model.nearest import did_you_mean  # noqa: PLC0415  difflib is only loaded for a mistake

    those = f"known: {', '.join(known)}" if known else f"there is none; `infra init --{kind} NAME=PATH` adds one"
    raise BadInput(f"no {kind} {name!r} in nodes.json{did_you_mean(name, known)} ({those})")
