"""What the ledger wants of an attempt, as orders for its shim. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

# A lease is renewed every second; its stop moment is moved in steps, so that a file is not written each time. It only
# ever stands earlier than it could: by so much of the whole span, and never more than so many seconds.
STOP_STEP_PART = 0.1
LARGEST_STOP_STEP_S = 5.0


def orders_for(wish: Mapping[str, Any], record: Mapping[str, Any], sent_at: float) -> dict[str, Any]:
    """Return the orders that follow from one attempt's part of a renewal's answer.

    `sent_at`: boot clock when the renewal was sent: the lease is counted from then, never from its answer.
    """
    if wish.get("fenced"):
        return {"stop": "fenced", "kill": True}
    orders: dict[str, Any] = {}
    if wish.get("cancel"):
        orders["stop"] = "cancel"
        orders["kill"] = wish["cancel"] == "kill"
    elif wish.get("down"):
        orders["stop"] = "down"
    limit = wish.get("timeout_s")
    if limit and limit != record.get("timeout_s"):
        orders["timeout_s"] = limit
    if wish.get("leased") and record.get("fields"):
        orders["stop_at"] = stop_moment(sent_at, _stop_after_s(record))
    return orders


def stop_moment(sent_at: float, stop_after_s: float) -> float:
    """Return when the shim must have stopped by itself, if no later renewal moves it on."""
    step_s = min(LARGEST_STOP_STEP_S, stop_after_s * STOP_STEP_PART)
    return (sent_at + stop_after_s) // step_s * step_s


def _stop_after_s(record: Mapping[str, Any]) -> float:
    from infra_tasks.model.spec import RunSpec  # noqa: PLC0415  only leased attempts need it

    return RunSpec.recorded(record["fields"]["spec"]).stop_after_s
