"""Output that is there no more: since when, and why."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from infra_tasks.cli.door import open_fleet
from infra_tasks.cli.printing import clock_time
from infra_tasks.cli.run_view import short
from infra_tasks.errors import UnknownRun

if TYPE_CHECKING:
    from collections.abc import Sequence

    from infra_tasks.ledger.records import Run
    from infra_tasks.settings import Home

DAY_S = 86400.0


def gone_since(home: Home, run: Run) -> str | None:
    """Return what to say of the output of a run that ended so long ago that its folder was deleted; else None."""
    if not run.final or not run.attempt or home.attempt(run.id, run.attempt).exists():
        return None
    days = float(open_fleet(home).limits.keep_runs_days)
    since = (run.at("ended_at") or time.time()) + days * DAY_S
    return _words(run, since, days) if since < time.time() else None


def refuse_gone(home: Home, archived: Sequence[Run]) -> None:
    """Raise UnknownRun for archived runs whose output is not on this node: since when it is gone, or where it lies."""
    away = [run for run in archived if not run.attempt or not home.attempt(run.id, run.attempt).exists()]
    if away:
        days = float(open_fleet(home).limits.keep_runs_days)
        more = "; `infra show` still tells of it from the archive"
        raise UnknownRun("\n".join(_away(run, days) + more for run in away))


def _away(run: Run, days: float) -> str:
    if not run.attempt:
        return f"run {short(run.id)} never started, and so has written nothing"
    since = (run.at("ended_at") or 0) + days * DAY_S
    if since < time.time() or not run.claim_node:
        return _words(run, since, days)
    return (
        f"run {short(run.id)} has left the history, and its output is not brought from {run.claim_node} any more: "
        f"until {clock_time(since)} it lies there, in runs/{run.id} of that node's folder"
    )


def _words(run: Run, since: float, days: float) -> str:
    kept = f"{days:g} {'day' if days == 1 else 'days'}"
    return f"run {short(run.id)}: its output is gone since {clock_time(since)} (the folders of runs are kept {kept})"
