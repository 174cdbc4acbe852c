"""One reason why a run is where it is, and what can be wrong with the node it waits for. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from infra_tasks.cli import spans

if TYPE_CHECKING:
    from infra_tasks.cli.nodes_view import NodeView

WORKS = {"running", "starting"}  # as the watcher says it


@dataclass(frozen=True)
class Reason:
    """`kind`: a word for programs. `said`: what is the case, for people. `node`: the one it is about."""

    kind: str
    said: str
    node: str | None = None


def silence(node: NodeView | None) -> str | None:
    """Return how a node says nothing, "has been silent for 5m"; None when it speaks."""
    if node is None:
        return "is not in nodes.json and has never spoken"
    if node.silent_s is None:
        return "has never spoken (`infra up` there starts it)"
    return None if node.is_up else f"has been silent for {spans.words(node.silent_s)}"


def trouble_with(node: NodeView | None, name: str, role: str = "worker") -> Reason | None:
    """Return why a role of a node takes nothing; None when nothing is known against it."""
    if mute := silence(node):
        kind = "node_silent" if node and node.silent_s is not None else "never_seen" if node else "unknown_node"
        return Reason(kind, f"{name} {mute}", name)
    if node is None or node.roles is None:
        return None
    state = next((one["state"] or "unknown" for one in node.roles if one["name"] == role), "not there")
    return None if state in WORKS else Reason(f"{role}_dead", f"the {role} role of {name} is {state}", name)
