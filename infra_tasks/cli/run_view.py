"""A run as the command line shows it: as a row, in a few words. Pure."""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING, Any

from infra_tasks.cli import spans
from infra_tasks.cli.path_text import path_text
from infra_tasks.model.facts import UNREACHABLE, as_json, shown_state, silent_nodes, unreachable_since
from infra_tasks.model.run import FINAL, State

if TYPE_CHECKING:
    from collections.abc import Mapping

    from infra_tasks.ledger.records import Run

__all__ = ["UNREACHABLE", "as_json", "command_text", "ending_words", "short", "shown_state", "silent_nodes"]

SHORT_CHARACTERS = 8
FINAL_STATES = tuple(state.value for state in sorted(FINAL))
HEADINGS = ("RUN", "STATE", "NODE", "SUBMITTED", "TOOK", "WHAT")

_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


def short(run_id: str) -> str:
    """Return the beginning of an id that is random; one that somebody chose is shown whole."""
    return run_id[:SHORT_CHARACTERS] if _UUID.fullmatch(run_id) else run_id


def command_text(run: Run) -> str:
    """Return the command as it could be typed, on one line."""
    said = run.spec.command
    text = said if isinstance(said, str) else shlex.join(said)
    return " ".join(text.split())


def row(run: Run, silent: Mapping[str, float], now: float) -> tuple[str, ...]:
    """Return what stands below `HEADINGS`. `now`: wall seconds of Redis' clock."""
    spent_s = took_s(run, now)
    submitted_at = run.at("submitted_at")
    return (
        short(run.id),
        shown_state(run, silent),
        f"{run.claim_node or run.node}{silent_words(run, silent, now)}",
        f"{spans.words(now - submitted_at)} ago" if submitted_at else "",
        spans.words(spent_s) if spent_s is not None else "",
        what(run),
    )


def silent_words(run: Run, silent: Mapping[str, float], now: float) -> str:
    """Return for how long the node of an UNREACHABLE run has said nothing, in brackets; "" for any other run."""
    since = unreachable_since(run, silent)
    return f" (silent {spans.words(now - since)})" if since is not None else ""


def what(run: Run) -> str:
    """Return name and command, as they can be shown on one line."""
    text = path_text(command_text(run))
    return f"{path_text(run.name)}: {text}" if run.name else text


def took_s(run: Run, now: float) -> float | None:
    """Return how long its command took, or has taken so far; None when it has not begun."""
    if run.state == State.STARTED:
        return now - (run.at("claimed_at") or now)
    spent_s: float | None = (run.result or {}).get("duration_s")
    return spent_s


def end_in_words(run: Run) -> str:
    """Return how a final run ended, where, how long it took and what it was, on one line."""
    result = run.result or {"state": run.state, "reason": run.reason}
    spent_s = result.get("duration_s")
    where = f" on {run.claim_node}" if run.claim_node else ""
    how = path_text(ending_words(result, run.fields.get("cause")))
    return f"{how}{where}{f' after {spans.words(spent_s)}' if spent_s is not None else ''}  {what(run)}"


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
