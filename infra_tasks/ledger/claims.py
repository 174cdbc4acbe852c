"""What a node tells and asks the ledger: claims, leases, ends, and in safe mode what it really holds."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from infra_tasks.model import outcome
from infra_tasks.model.run import POISONED_AFTER_LOST, State

if TYPE_CHECKING:
    from collections.abc import Sequence

    from infra_tasks.ledger.scripts import Scripts
    from infra_tasks.model.outcome import Ending, Result

SWEEP_LEASE_S = 5.0
SWEEP_MOST = 200
HINT_OVERDUE_S = 8.0
DISPATCH_LEASE_S = 45.0
SETTLE_PATIENCE_S = 10.0
QUEUE_KEPT_S = 24 * 3600

LISTS = frozenset({"taken", "fenced", "known", "unheld", "expired", "lost", "moving"})

Answer = dict[str, Any]


class Claims:
    """The moves only a node makes."""

    def __init__(self, scripts: Scripts) -> None:
        self._call = scripts.call

    def claim(
        self,
        run_id: str,
        attempt: int,
        claim: str,
        *,
        node: str,
        uuid: str,
        slots: int,
        labels: Sequence[str],
        actor: str,
        version: str = "",
    ) -> Answer:
        """Ask for a run. Says `claimed` with its fields, `final` with its result, or `refused` and why."""
        return self._answer(
            "claim",
            run=run_id,
            attempt=attempt,
            claim=claim,
            node=node,
            uuid=uuid,
            slots=slots,
            labels=list(labels),
            actor=actor,
            version=version,
        )

    def decline(
        self, run_id: str, attempt: int, claim: str, *, node: str, version: str, cause: str, actor: str
    ) -> Answer:
        """Give a claim back whose spec a node of this version does not know whole, for other nodes to take the run.

        `refused`: no other node may take it (or it is to be cancelled), so that it has to end; `safe`: not now.
        """
        return self._answer(
            "decline",
            run=run_id,
            attempt=attempt,
            claim=claim,
            node=node,
            version=version,
            cause=cause,
            actor=actor,
        )

    def start(
        self, run_id: str, attempt: int, claim: str, *, release: str, actor: str, cause: str | None = None
    ) -> Answer:
        """Say that the code is verified and the command is about to start. `fenced`: somebody else owns the run."""
        return self._answer(
            "start", run=run_id, attempt=attempt, claim=claim, release=release, actor=actor, cause=cause
        )

    def renew(self, *, patience_s: float, **said: Any) -> Answer:
        """Heartbeat of a node and renewal of all its leases; the answer says what is wanted of each attempt."""
        return self._answer("renew", patience_s=patience_s, **said)

    def finish(
        self,
        token: tuple[str, int, str],
        end: Ending,
        results: tuple[Result, Result],
        *,
        errors: tuple[str, str],
        now: float,
        actor: str,
        settle_in_s: float,
        headers: dict[str, Any] | None = None,
        patience_s: float = 10.0,
        lapsed: bool = False,
    ) -> Answer:
        """Report the end of an attempt; `token` = run, attempt, claim.

        `results`, `errors`: what to write when it ends so, and when somebody had asked to cancel it. `lapsed`: said by
        somebody who is not the holder; refused as `alive` when the lease has been renewed meanwhile.
        """
        run_id, attempt, claim = token
        result, revoked = results
        return self._answer(
            "finish",
            patience_s=patience_s,
            run=run_id,
            attempt=attempt,
            claim=claim,
            actor=actor,
            cause=end.cause,
            to=end.to,
            reason=end.reason,
            result=json.dumps(result),
            meta=outcome.meta(result, errors[0], now, headers),
            revoked={"result": json.dumps(revoked), "meta": outcome.meta(revoked, errors[1], now, headers)},
            meta_key=outcome.META_PREFIX + run_id,
            keep_s=outcome.KEEP_S,
            retry_in_s=end.retry_in_s,
            lost=end.lost,
            settle_in_s=settle_in_s,
            survivors=result["survivors"],
            holder=result["node"],
            lapsed=lapsed or None,
        )

    def settle(self, run_id: str) -> None:
        """Say that all that follows a final run has been done."""
        self._answer("settle", run=run_id)

    def dispatch(
        self,
        move: str,
        run_id: str,
        dispatch: str,
        *,
        node: str,
        actor: str,
        release: str = "",
        retry_in_s: float | None = None,
        cause: str | None = None,
        rules: str | None = None,
        warning: str | None = None,
    ) -> Answer:
        """Make a dispatcher's move; `refused` when the run is not its business (any more).

        `begin`, `renew`, `warn` (with a `warning` for the person who wants the run), `end` (with the release, and the
        `rules` by which nodes make it ready), `later` (another try after `retry_in_s`, using one retry).
        """
        return self._answer(
            "dispatch",
            move=move,
            run=run_id,
            dispatch=dispatch,
            node=node,
            actor=actor,
            release=release,
            lease_s=DISPATCH_LEASE_S,
            keep_s=outcome.KEEP_S,
            retry_in_s=retry_in_s,
            cause=cause,
            rules=rules,
            warning=warning,
            overdue_s=HINT_OVERDUE_S,
        )

    def sweep(self, node: str) -> Answer:
        """Make one turn of the sweep, if no other node does."""
        return self._answer(
            "sweep",
            node=node,
            most=SWEEP_MOST,
            lease_s=SWEEP_LEASE_S,
            overdue_s=HINT_OVERDUE_S,
            settle_patience_s=SETTLE_PATIENCE_S,
            poisoned_after=POISONED_AFTER_LOST,
            queue_kept_s=QUEUE_KEPT_S,
        )

    def unpin(self, run_id: str, node: str, spec: str, *, actor: str, cause: str) -> Answer:
        """Let a run that waits for `node` be taken by any with its labels, if only the fleet had pinned it there."""
        return self._answer("unpin", run=run_id, node=node, spec=spec, actor=actor, cause=cause)

    def mend_queue(self, queue: str) -> Answer:
        """Push the hints a queue has lost anew. For its only consumer, before it consumes: nobody holds one now."""
        return self._answer("sweep", patience_s=0, queue=queue, most=SWEEP_MOST, overdue_s=0)

    def present(self, node: str, uuid: str, attempts: Sequence[dict[str, Any]], *, done: bool) -> Answer:
        """Safe mode: say what this node holds; `done` with the last call."""
        return self._answer("present", node=node, uuid=uuid, attempts=list(attempts), done=done, keep_s=outcome.KEEP_S)

    def _answer(self, script: str, **args: Any) -> Answer:
        answer: Answer = self._call(script, **args)
        for name in LISTS & answer.keys():
            answer[name] = answer[name] or []  # Lua cannot tell an empty list from an empty object
        return answer


def final_state(answer: Answer) -> State | None:
    """Return the final state an answer speaks of, or None."""
    return State(answer["state"]) if answer["said"] == "final" else None
