"""What is known of a run, told the same way to a shell, to Python and to a browser. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from infra_tasks.model.run import RESULT_KEYS, State

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from infra_tasks.ledger.nodes import NodeSeen
    from infra_tasks.ledger.records import Event, Run

UNREACHABLE = "UNREACHABLE"


def silent_nodes(nodes: Sequence[NodeSeen]) -> dict[str, float]:
    """Return the names of the nodes that have not spoken lately, and when they spoke last (wall seconds of Redis)."""
    return {node.name: float(node.fields.get("seen_at") or 0) for node in nodes if not node.reachable}


def shown_state(run: Run, silent: Collection[str]) -> str:
    """Return the state; UNREACHABLE for a pinned run that was started on a node which is silent now."""
    unreachable = run.state == State.STARTED and run.node and run.claim_node in silent
    return UNREACHABLE if unreachable else run.state


def unreachable_since(run: Run, silent: Mapping[str, float]) -> float | None:
    """Return since when nothing is known of a run (wall seconds of Redis' clock), None when it is not UNREACHABLE."""
    return silent[run.claim_node] if shown_state(run, silent) == UNREACHABLE else None


def as_json(run: Run, silent: Mapping[str, float], events: Sequence[Event] | None = None) -> dict[str, Any]:
    """Return all result keys - null where nothing is known yet - and what else is known of the run."""
    known = {**dict.fromkeys(RESULT_KEYS), **_so_far(run, events or []), **(run.result or {})}
    known["state"] = shown_state(run, silent)
    said = {
        **known,
        "unreachable_since": unreachable_since(run, silent),
        "name": run.name or None,
        "command": run.spec.command,
        "project": run.project or None,
        "labels": sorted(run.spec.labels),
        "queue": run.queue,
        "timeout_s": run.timeout_s,
        "retry_of": run.retry_of or None,
        "schedule": run.schedule or None,
        "slot": run.slot or None,
        "cancel_asked": bool(run.cancel) and not run.final,
        "cause": run.fields.get("cause") or None,
    }
    return said if events is None else {**said, "events": [event.as_dict() for event in events]}


def _so_far(run: Run, events: Sequence[Event]) -> dict[str, Any]:
    started = [event.at for event in events if event.to_state == State.STARTED and event.from_state != State.STARTED]
    return {
        "id": run.id,
        "reason": run.reason or None,
        "node": run.claim_node or run.node or None,
        "attempt": run.attempt,
        "release": run.release or None,
        "submitted_at": run.at("submitted_at"),
        "started_at": started[-1] if started and run.state == State.STARTED else None,
        "ended_at": run.at("ended_at"),
    }
