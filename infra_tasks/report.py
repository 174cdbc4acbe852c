"""Tells the ledger how an attempt ended: the exit record on disk becomes the end of the run, or its next attempt.

Called by the worker child that waited for the shim, and by the agent for every attempt nobody waits for. Both may do it
for the same attempt: the second gets the first one's answer.
"""

from __future__ import annotations

import json
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from infra_tasks import live
from infra_tasks.model import outcome
from infra_tasks.model.run import State
from infra_tasks.model.spec import RunSpec
from infra_tasks.runner import output

if TYPE_CHECKING:
    from collections.abc import Mapping

    from infra_tasks.ledger import Ledger
    from infra_tasks.live import Token
    from infra_tasks.model.outcome import Ending
    from infra_tasks.runner.attempt import Attempt
    from infra_tasks.settings import Home

TAIL_BYTES = 8192
# Who waits for the run carries its canvas on at once; if that one dies, the sweep sees to it after this long.
CARRIED_ON_WITHIN_S = 10.0


def report(
    home: Home,
    ledger: Ledger,
    token: Token,
    attempt: Attempt,
    *,
    actor: str,
    waited_for: bool,
    outputs: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Report the end of an attempt; returns the ledger's answer (`final`, `retry`, `requeued`, `fenced`, `safe`).

    `waited_for`: a Celery task of this run is under way and will do what follows it. `outputs`: what the result says of
    them. On `safe` nothing is struck off: the agent presents the attempt and reports it again. `unended`: its shim died
    before it could say how it ended; the agent buries it and reports that.
    """
    exit_record = attempt.exit_record()
    if exit_record is None:
        return {"said": "unended", "state": ""}
    record: dict[str, Any] = attempt.record() or {}
    fields = record.get("fields") or _fields(ledger, token)
    if not fields:
        _strike_off(home, token, attempt)
        return {"said": "fenced", "state": ""}
    end = ending_of(exit_record, fields)
    answer = tell(
        ledger,
        token,
        end,
        {
            **fields,
            "release": record.get("release") or fields.get("release"),
            "claim_node": record.get("node") or fields.get("claim_node"),
        },
        exit_record,
        tails=_tails(attempt, exit_record),
        outputs=outputs,
        actor=actor,
        settle_in_s=CARRIED_ON_WITHIN_S if waited_for else 0,
    )
    if answer["said"] != "safe":
        other = answer["said"] == "final" and answer["state"] != end.to
        _strike_off(home, token, attempt, answer["state"] if other else None)
    return answer


def _strike_off(home: Home, token: Token, attempt: Attempt, state: str | None = None) -> None:
    """Note that the ledger knows the end; without room for that it stays, and is told again and noted then."""
    with suppress(OSError):
        if state:
            attempt.note_state(state)
        attempt.note_report()
        live.leave(home, token)


def ending_of(exit_record: Mapping[str, Any], fields: Mapping[str, Any]) -> Ending:
    """Return what an exit record comes to for a run with these fields, as they were when it was claimed."""
    counts = {name: int(fields.get(name) or 0) for name in ("retries_used", "lost", "unstarted")}
    return outcome.ending(exit_record, RunSpec.recorded(fields["spec"]), counts)


def told_state(attempt: Attempt, fields: Mapping[str, Any]) -> str | None:
    """Return the final state that was announced for a reported attempt: it must be announced again, never another."""
    exit_record = attempt.exit_record()
    if not attempt.was_reported() or exit_record is None:
        return None
    end = ending_of(exit_record, fields)
    goes_on = end.retry_in_s is not None or end.lost
    return attempt.noted_state() or (None if goes_on else end.to.value)


def tell(
    ledger: Ledger,
    token: Token,
    end: Ending,
    fields: Mapping[str, Any],
    exit_record: Mapping[str, Any],
    *,
    actor: str,
    settle_in_s: float,
    tails: tuple[str, str] = ("", ""),
    outputs: Mapping[str, Any] | None = None,
    lapsed: bool = False,
) -> dict[str, Any]:
    """Compose the results of this end and hand them to the ledger. `lapsed`: only if the lease has ended."""
    run = {
        "id": token.run,
        "node": fields.get("claim_node"),
        "attempt": token.attempt,
        "release": fields.get("release"),
        "submitted_at": float(fields["submitted_at"]),
    }
    result = outcome.result_of(run, end.to, end.reason, exit_record, tails, outputs)
    revoked = outcome.result_of(run, State.REVOKED, None, exit_record, tails, outputs)
    name = fields.get("name")
    answer = ledger.claims.finish(
        token,
        end,
        (result, revoked),
        errors=(outcome.told(result, end.cause, name), outcome.told(revoked, "cancelled", name)),
        now=exit_record.get("ended_at") or time.time(),
        actor=actor,
        settle_in_s=settle_in_s,
        lapsed=lapsed,
    )
    return {**answer, "cause": end.cause}


def _fields(ledger: Ledger, token: Token) -> dict[str, str]:
    """What the ledger knows, when the attempt died before its record was on disk: only if the claim was given."""
    run = ledger.runs.get(token.run)
    return dict(run.fields) if run and run.claim == token.claim else {}


def _tails(attempt: Attempt, exit_record: Mapping[str, Any]) -> tuple[str, str]:
    out, err = (output.tail(attempt.folder, stream, TAIL_BYTES) for stream in ("stdout", "stderr"))
    if not err and exit_record.get("started_at") is None and exit_record.get("error"):
        err = str(exit_record["error"])
    return out, err


def result_in(answer: Mapping[str, Any]) -> dict[str, Any]:
    """Return the result a `final` answer carries."""
    return dict(json.loads(answer["result"]))
