"""`infra runs`: the newest runs, one to a line."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from infra_tasks.cli import params, run_view
from infra_tasks.cli.command import command as make
from infra_tasks.cli.door import answering_ledger, open_fleet, open_home
from infra_tasks.cli.exit_codes import DONE
from infra_tasks.cli.printing import print_json, print_table
from infra_tasks.cli.terminal import note
from infra_tasks.cli.wanted import STATES, Wanted

if TYPE_CHECKING:
    from infra_tasks.cli.manner import Manner
    from infra_tasks.ledger import Ledger
    from infra_tasks.settings import Home

MOST_ROWS = 2000
EXAMPLES = """
infra runs
infra runs --state failure --since 1d --limit 5
infra runs --node mac-2 --project trainer --name 'nightly-*'
infra runs --watch
infra runs --archived --project trainer --since 60d
infra runs --json
"""


@make("runs", EXAMPLES)
@click.option(
    "--state",
    "states",
    multiple=True,
    type=click.Choice(STATES, case_sensitive=False),
    metavar="STATE",
    help=f"Only runs in this state: {', '.join(STATES)}.",
)
@click.option("--node", help="Only runs of this node.")
@click.option("--project", help="Only runs of this project.")
@click.option("--name", help="Only runs whose name holds this text, or fits it with * and ?.")
@click.option("--since", type=params.span, metavar="SPAN", help="Only runs submitted within this span, like 2h.")
@click.option("--limit", type=click.IntRange(1, MOST_ROWS), default=20, show_default=True, help="At most so many.")
@click.option("--archived", is_flag=True, help="Those that have left the history, as far as this node has them.")
@click.option("--watch", "watching", is_flag=True, help="Go on: show them as they change, until Ctrl-C.")
@click.pass_obj
def command(
    manner: Manner,
    /,
    *,
    states: tuple[str, ...],
    node: str | None,
    project: str | None,
    name: str | None,
    since: float | None,
    limit: int,
    archived: bool,
    watching: bool,
) -> int:
    """List the newest runs, newest first. What is asked for must fit all at once; several states are any of them.

    --watch draws the list anew on a terminal (q or Ctrl-C ends it); a pipe gets a line for every change.

    --archived reads the files of this node, needs no Redis, and lists what ended last first; other nodes may have
    exported others.
    """
    home, wanted = open_home(), Wanted(frozenset(states), node, project, name)
    if archived:
        from infra_tasks.cli.archived import list_archived  # noqa: PLC0415

        if watching:
            raise click.UsageError("--archived and --watch do not go together: what is archived changes no more")
        return list_archived(home, wanted, since, limit, json=manner.json)
    if watching:
        from infra_tasks.cli.runs_watch import watch  # noqa: PLC0415

        _check_names(home, wanted)
        return watch(home, wanted, since, limit, json=manner.json)
    with answering_ledger(home) as ledger:
        silent, now = run_view.silent_nodes(ledger.nodes.all()), ledger.nodes.now()
        found = ledger.search().newest(
            lambda run: wanted.fits(run, silent),
            limit,
            since=now - since if since else 0.0,
            live_only=wanted.live_only,
        )
        if not found.runs:
            _check_names(home, wanted, ledger)
        runs = ledger.runs.get_many([run.id for run in found.runs])
    if not found.complete:
        note(f"only the newest {found.looked:,} runs were looked through; there may be more")
    if manner.json:
        print_json([run_view.as_json(run, silent) for run in runs])
    elif not runs:
        click.echo(_nothing(narrowed=wanted.narrows or since is not None))
    else:
        print_table(run_view.HEADINGS, [run_view.row(run, silent, now) for run in runs], flexible=5)
    return DONE


def _nothing(*, narrowed: bool) -> str:
    return "no run fits that" if narrowed else "no run yet; `infra run -- COMMAND...` makes one"


def _check_names(home: Home, wanted: Wanted, ledger: Ledger | None = None) -> None:
    """Raise BadInput for a node or project that is not of this fleet, nor ever was as far as the ledger knows."""
    from infra_tasks.cli.names import check_name  # noqa: PLC0415

    fleet = open_fleet(home)
    spoke = {node.name for node in ledger.nodes.all()} if ledger else set()
    check_name("node", wanted.node, sorted({*fleet.nodes, *spoke}))
    check_name("project", wanted.project, sorted(fleet.projects))
