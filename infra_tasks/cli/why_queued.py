"""Why a queued run is not taken: what keeps each node that could take it from it. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from infra_tasks.cli import spans
from infra_tasks.cli.path_text import path_text
from infra_tasks.cli.why_reason import Reason, trouble_with
from infra_tasks.model.nearest import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from infra_tasks.cli.nodes_view import NodeView
    from infra_tasks.ledger.lines import Line

# A hint is taken within milliseconds where a slot is free, and pushed again after some seconds when it got lost.
LOST_HINT_S = 5.0
MOST_NAMED = 3
KINDS_IN_WORDS = {
    "slots_full": "full",
    "node_silent": "silent",
    "never_seen": "never seen",
    "cordoned": "cordoned",
    "draining": "being drained",
    "worker_dead": "without a worker",
    "too_old": "too old for its spec",
}


def queued(
    node: str,
    labels: Sequence[str],
    *,
    nodes: Mapping[str, NodeView],
    holders: Mapping[str, Sequence[str]],
    since_s: float,
    declined: Mapping[str, str] | None = None,
) -> list[Reason]:
    """Return the reasons, of which the first makes the sentence. `node`: the one it is pinned to, "" for any.

    `declined`: nodes that gave it back because their version (name -> version) does not know all of its spec.
    """
    if node and node not in nodes:
        return [Reason("unknown_node", f"waits for node {node}, which nobody knows{did_you_mean(node, nodes)}", node)]
    able = able_nodes(node, labels, nodes)
    if not able:
        return [_no_node(labels, nodes)]
    found = [
        _in_the_way(one, labels, holders.get(one.name, ()), (declined or {}).get(one.name, "")) for one in able
    ]  # fmt: skip
    free = [one.name for one, reason in zip(able, found, strict=True) if reason is None]
    if free:
        return [_about_to_be_taken(free[0], since_s)]
    reasons = [reason for reason in found if reason is not None]
    return [_summed_up(reasons, since_s)] if len(reasons) > MOST_NAMED else _named(reasons, since_s)


def in_line(line: Line, running: Sequence[str]) -> Reason:
    """Return why a run stands in line, `running` being what those are called that have the places."""
    ahead = f", and {line.before} wait before it" if line.before else ""
    if line.kind == "lane":
        whose = f"project {path_text(line.of)}" if line.of else "runs without a project"
        return Reason("turn", f"waits for the turn of {whose}: {line.before + 1} of them stand in line up to this one")
    if line.kind == "name" and line.most is None:
        said = f"waits: some of those named {path_text(line.of)} came first and limit how many may run (max_running)"
        return Reason("max_running", f"{said}{ahead}")
    whose = f"project {line.of}" if line.kind == "project" else f"those named {line.of}"
    who = f": {_some(running)}" if running else ""
    return Reason("max_running", f"waits: of {path_text(whose)} {line.most} may run at once (max_running){who}{ahead}")


def able_nodes(node: str, labels: Collection[str], nodes: Mapping[str, NodeView]) -> list[NodeView]:
    """Return the nodes that may take a run: the one it is pinned to, or all that have the labels."""
    if node:
        return [nodes[node]] if node in nodes else []
    return [one for one in nodes.values() if set(labels) <= set(one.labels)]


def _in_the_way(node: NodeView, labels: Sequence[str], holders: Sequence[str], too_old: str) -> Reason | None:
    """Return what keeps a node from taking the run; None when nothing does. `too_old`: the version that declined it."""
    if trouble := trouble_with(node, node.name):
        return trouble
    if lacking := [label for label in labels if label not in node.labels]:
        return Reason("labels", f"{node.name} lacks the label {lacking[0]}", node.name)
    if node.cordoned:
        return Reason(
            "draining" if node.drain == "draining" else "cordoned", f"{node.name} is {node.cordon_words}", node.name
        )
    if too_old and node.version in {None, too_old}:
        said = f"{node.name} gave it back, infra {too_old} there does not know all of its spec: upgrade that node"
        return Reason("too_old", said, node.name)
    if node.slots is not None and node.live >= node.slots:
        return Reason(
            "slots_full",
            f"{_slots(node)} taken, by {_some(holders)}" if holders else f"{_slots(node)} taken",
            node.name,
        )
    return None


def _slots(node: NodeView) -> str:
    if node.slots == 1:
        return f"the slot of {node.name} is"
    return f"{'both' if node.slots == 2 else f'all {node.slots}'} slots of {node.name} are"


def _some(names: Sequence[str]) -> str:
    """Return the first names and how many more there are."""
    more = len(names) - MOST_NAMED
    if more > 0:
        return f"{', '.join(names[:MOST_NAMED])} and {more} more"
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def _named(reasons: list[Reason], since_s: float) -> list[Reason]:
    """Begin the first reason as the sentence begins."""
    first, *rest = reasons
    return [Reason(first.kind, f"has waited {spans.words(since_s)} for a slot: {first.said}", first.node), *rest]


def _summed_up(reasons: Sequence[Reason], since_s: float) -> Reason:
    kinds = [reason.kind for reason in reasons]
    counted = [f"{kinds.count(kind)} {KINDS_IN_WORDS.get(kind, kind)}" for kind in dict.fromkeys(kinds)]
    said = f"has waited {spans.words(since_s)} for a slot: of {len(kinds)} nodes that may take it {', '.join(counted)}"
    return Reason(max(kinds, key=kinds.count), said)


def _about_to_be_taken(node: str, since_s: float) -> Reason:
    if since_s < LOST_HINT_S:
        return Reason("free_slot", f"is about to be taken: {node} has a free slot", node)
    said = (
        f"has waited {spans.words(since_s)}, though {node} has a free slot: its hint is pushed again every few seconds"
    )
    return Reason("free_slot", said, node)


def _no_node(labels: Sequence[str], nodes: Mapping[str, NodeView]) -> Reason:
    """Tell that no node has all labels, and which one comes nearest."""
    wanted = f"the label{'s' if len(labels) > 1 else ''} {', '.join(labels)}" if labels else "anything at all"
    if not nodes:
        return Reason("no_node", "waits for a node: there is none")
    nearest = max(nodes.values(), key=lambda node: len(set(labels) & set(node.labels)))
    lacking = [label for label in labels if label not in nearest.labels]
    offered = {label for node in nodes.values() for label in node.labels}
    meant = did_you_mean(lacking[0], offered) if lacking[0] not in offered else ""
    has_any = set(labels) & set(nearest.labels)
    near = f"; nearest is {nearest.name}, which lacks {' and '.join(lacking)}" if has_any else ""
    return Reason(
        "no_node_has_labels",
        f"waits for a node with {wanted}: none has{' all of them' if has_any else ''}{near}{meant}",
    )
