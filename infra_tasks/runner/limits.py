"""When a command must stop, and when what is left of it must be killed: decisions without a clock of their own."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

OUTCOME_OF_ORDER = {"cancel": "cancelled", "fenced": "fenced", "down": "down"}
"""Orders a shim knows, and the outcome each leads to."""

NEVER = math.inf


class Limits(NamedTuple):
    """What bounds an attempt. Moments are on the boot clock."""

    limit_at: float
    stop_at: float
    grace_s: float
    memory_bytes: float
    ordered: str | None
    kill: bool


def limits(record: dict[str, Any], orders: dict[str, Any], started_boot: float) -> Limits:
    """Return the bounds that hold now: those of the record, changed by orders; what is no number changes nothing."""
    timeout_s = _number(orders.get("timeout_s"), _number(record.get("timeout_s"), NEVER))
    kill = orders.get("kill") is True
    ordered = OUTCOME_OF_ORDER.get(str(orders.get("stop")))
    return Limits(
        limit_at=started_boot + timeout_s,
        stop_at=_number(orders.get("stop_at"), _number(record.get("stop_at"), NEVER)),
        grace_s=max(0.0, _number(record.get("grace_s"), 0.0)),
        memory_bytes=_number(record.get("memory_bytes"), NEVER),
        ordered=ordered or ("cancelled" if kill else None),
        kill=kill,
    )


def outcome_due(now: float, bound: Limits) -> str | None:
    """Return the outcome for which the tree must be stopped now, None while it may go on."""
    if bound.ordered:
        return bound.ordered
    if now >= bound.stop_at:
        return "lease"
    return "timeout" if now >= bound.limit_at else None


def kill_at(term_at: float, bound: Limits) -> float:
    """Return when grace ends for a tree that was asked to stop at `term_at`.

    The limit and the stop moment bound it as well: who was asked late gets less grace, never a later end.
    """
    return 0.0 if bound.kill else min(term_at, bound.limit_at, bound.stop_at) + bound.grace_s


def _number(value: object, otherwise: float) -> float:
    if isinstance(value, (int, float)) and not isinstance(value, bool) and not math.isnan(value):
        return float(value)
    return otherwise
