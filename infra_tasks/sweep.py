"""The sweep: moves on what got stuck. The script does what is one move; ends that need a result are composed here."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from infra_tasks.live import Token
from infra_tasks.model.outcome import Ending
from infra_tasks.model.recorded import not_known
from infra_tasks.model.run import Reason, State
from infra_tasks.report import tell

if TYPE_CHECKING:
    from infra_tasks.ledger import Ledger


def sweep(ledger: Ledger, node: str) -> int:
    """Make one turn, if no other node does; return how many runs were moved on."""
    said = ledger.claims.sweep(node)
    if said["said"] != "ok":
        return 0
    for run_id in said["expired"] or ():
        ledger.runs.expire(run_id)
    for run_id in said["lost"] or ():
        _lost_for_good(ledger, run_id)
    for one in said["moving"]:
        _unpin(ledger, one["run"], one["node"])
    return int(said["moved"]) + len(said["expired"]) + len(said["lost"]) + len(said["moving"])


def _unpin(ledger: Ledger, run_id: str, node: str) -> None:
    """A run waits for a node that is drained, and only the fleet had pinned it there."""
    run = ledger.runs.get(run_id)
    if run is None or run.node != node or not_known(run.fields["spec"]):  # written anew, a part of it would be lost
        return
    spec = run.spec.model_copy(update={"node": None})
    ledger.claims.unpin(run_id, node, spec.to_json(), actor="sweep", cause=f"{node} is drained: any node may take it")


def _lost_for_good(ledger: Ledger, run_id: str) -> None:
    """The lease of an attempt has ended and it must not (or must not again) be run elsewhere."""
    run = ledger.runs.get(run_id)
    if run is None or run.final or not run.claim:
        return
    allowed = Reason.NODE_LOST in run.spec.retry_on
    reason = Reason.POISONED if allowed else Reason.NODE_LOST
    end = Ending(State.FAILURE, reason, f"{run.claim_node} stopped renewing its lease")
    tell(
        ledger,
        Token(run_id, run.attempt, run.claim),
        end,
        run.fields,
        {"ended_at": time.time()},
        actor="sweep",
        settle_in_s=0,
        lapsed=True,
    )
