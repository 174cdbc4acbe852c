"""`infra runs`: the newest runs, one to a line."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from infra_tasks.cli import run_view, spans
from infra_tasks.cli.command import command as make
from infra_tasks.cli.door import answering_ledger, open_home
from infra_tasks.cli.printing import ago, print_json, print_table

if TYPE_CHECKING:
    from infra_tasks.cli.manner import Manner
    from infra_tasks.ledger import Ledger
    from infra_tasks.ledger.records import Run

STATES = ("PENDING", "SYNCING", "QUEUED", "STARTED", "RETRY", "SUCCESS", "FAILURE", "REVOKED", run_view.UNREACHABLE)
LIVE = ("PENDING", "SYNCING", "QUEUED", "STARTED", "RETRY", run_view.UNREACHABLE)
LOOKED_THROUGH = 2000  # of the newest runs, when only some states are wanted
HEADINGS = ("RUN", "STATE", "NODE", "SUBMITTED", "TOOK", "WHAT")
EXAMPLES = """
infra runs
infra runs --state failure --limit 5
infra runs --json
"""


@make("runs", EXAMPLES)
@click.option("--state", "states", multiple=True, type=click.Choice(STATES, case_sensitive=False), help="Only these.")
@click.option("--limit", type=click.IntRange(1, LOOKED_THROUGH), default=20, show_default=True, help="At most so many.")
@click.pass_obj
def command(manner: Manner, /, *, states: tuple[str, ...], limit: int) -> None:
    """List the newest runs, newest first."""
    with answering_ledger(open_home()) as ledger:
        silent = run_view.silent_nodes(ledger.nodes.all())
        runs = _wanted(ledger, silent, states, limit)
        now = ledger.nodes.now()
    if manner.json:
        print_json([run_view.as_json(run, silent) for run in runs])
    elif not runs:
        click.echo(f"no run {'in such a state' if states else 'yet'}; `infra run -- COMMAND...` makes one")
    else:
        print_table(HEADINGS, [_row(run, silent, now) for run in runs], flexible=len(HEADINGS) - 1)


def _wanted(ledger: Ledger, silent: set[str], states: tuple[str, ...], limit: int) -> list[Run]:
    if not states:
        return ledger.runs.recent(limit)
    live_only = all(state in LIVE for state in states)
    found = ledger.runs.recent(LOOKED_THROUGH, live_only=live_only)
    return [run for run in found if run_view.shown_state(run, silent) in states][:limit]


def _row(run: Run, silent: set[str], now: float) -> tuple[str, ...]:
    took_s = _took_s(run, now)
    what = f"{run.name}: {run_view.command_text(run)}" if run.name else run_view.command_text(run)
    return (
        run_view.short(run.id),
        run_view.shown_state(run, silent),
        run.claim_node or run.node,
        ago(run.at("submitted_at"), now),
        spans.words(took_s) if took_s is not None else "",
        what,
    )


def _took_s(run: Run, now: float) -> float | None:
    if run.state == "STARTED":
        return now - (run.at("claimed_at") or now)
    took_s: float | None = (run.result or {}).get("duration_s")
    return took_s
