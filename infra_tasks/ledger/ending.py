"""How a run that nobody has claimed ends, as `cancel.lua` takes it. Pure."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from infra_tasks.model import outcome

if TYPE_CHECKING:
    from infra_tasks.ledger.records import Run
    from infra_tasks.model.run import Reason, State

# What of a run's record it takes.
FIELDS = ("state", "attempt", "claim_node", "release", "submitted_at", "name")


def end_of(run: Run, to: State, reason: Reason | None, cause: str, now: float) -> dict[str, Any]:
    """Return the arguments that end a run so. `now`: wall seconds."""
    seen = {
        "id": run.id,
        "node": run.claim_node,
        "attempt": run.attempt,
        "release": run.release,
        "submitted_at": run.at("submitted_at"),
    }
    result = outcome.result_of(seen, to, reason, {"ended_at": now})
    return {
        "run": run.id,
        "attempt": run.attempt,
        "to": to,
        "reason": reason,
        "cause": cause,
        "result": json.dumps(result),
        "meta": outcome.meta(result, outcome.told(result, cause, run.name), now),
        "meta_key": outcome.META_PREFIX + run.id,
        "keep_s": outcome.KEEP_S,
    }
