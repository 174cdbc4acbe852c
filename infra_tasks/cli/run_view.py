"""A run as the command line shows it: as a row, as facts, as JSON. Pure."""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING, Any

from infra_tasks.model.run import RESULT_KEYS, State

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from infra_tasks.ledger.nodes import NodeSeen
    from infra_tasks.ledger.records import Event, Run

UNREACHABLE = "UNREACHABLE"
SHORT_CHARACTERS = 8

_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


def short(run_id: str) -> str:
    """Return the beginning of an id that is random; one that somebody chose is shown whole."""
    return run_id[:SHORT_CHARACTERS] if _UUID.fullmatch(run_id) else run_id


def silent_nodes(nodes: Sequence[NodeSeen]) -> set[str]:
    """Return the names of the nodes that have not spoken lately."""
    return {node.name for node in nodes if not node.reachable}


def shown_state(run: Run, silent: Collection[str]) -> str:
    """Return the state; UNREACHABLE for a pinned run that was started on a node which is silent now."""
    unreachable = run.state == State.STARTED and run.node and run.claim_node in silent
    return UNREACHABLE if unreachable else run.state


def command_text(run: Run) -> str:
    """Return the command as it could be typed, on one line."""
    said = run.spec.command
    text = said if isinstance(said, str) else shlex.join(said)
    return " ".join(text.split())


def as_json(run: Run, silent: Collection[str], events: Sequence[Event] | None = None) -> dict[str, Any]:
    """Return all result keys - null where nothing is known yet - and what else is known of the run."""
    known = {**dict.fromkeys(RESULT_KEYS), **_so_far(run, events or []), **(run.result or {})}
    known["state"] = shown_state(run, silent)
    said = {
        **known,
        "name": run.name or None,
        "command": run.spec.command,
        "project": run.project or None,
        "labels": sorted(run.spec.labels),
        "queue": run.queue,
        "timeout_s": run.timeout_s,
        "retry_of": run.retry_of or None,
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


def ending_words(result: dict[str, Any], cause: str | None) -> str:
    """Return how a final run ended, in a few words; `cause` is what the ledger noted."""
    if result["state"] == State.SUCCESS:
        return "done"
    if result["state"] == State.REVOKED:
        return "cancelled"
    if result["reason"] == "exit_code":
        return f"exit code {result['exit_code']}"
    if result["reason"] == "signal":
        return f"killed by signal {result['signal']}"
    reason = str(result["reason"] or "failed").replace("_", " ")
    return f"{reason}: {cause}" if cause and cause != result["reason"] else reason
