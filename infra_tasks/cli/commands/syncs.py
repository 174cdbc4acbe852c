"""`infra syncs`: what code was brought where, lately."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from infra_tasks.cli.command import command as make
from infra_tasks.cli.door import answering_ledger, open_fleet, open_home
from infra_tasks.cli.names import check_name
from infra_tasks.cli.printing import ago, print_json, print_table

if TYPE_CHECKING:
    from infra_tasks.cli.manner import Manner
    from infra_tasks.ledger.code import SyncEntry

MOST = 1000
HEADINGS = ("WHEN", "PROJECT", "RELEASE", "NODE", "FROM", "WHY", "WHAT")
EXAMPLES = """
infra syncs
infra syncs --node mac-2 --limit 5
infra syncs --project hello --json
"""


@make("syncs", EXAMPLES)
@click.option("--project", help="Only those of this project.")
@click.option("--node", help="Only those to this node.")
@click.option("--limit", type=click.IntRange(1, MOST), default=50, show_default=True, help="At most so many.")
@click.pass_obj
def command(manner: Manner, /, *, project: str | None, node: str | None, limit: int) -> None:
    """List what code was brought where, newest first.

    WHY: `dispatch` before a run, `pull` by the node that took one, `check` by the check every half hour, `sync` by
    hand.
    """
    fleet = open_fleet(open_home())
    with answering_ledger(open_home()) as ledger:
        found, now = ledger.code.syncs(limit, project, node), ledger.nodes.now()
    if not found:  # of what nodes.json no longer knows there may still be something
        check_name("node", node, fleet.nodes)
        check_name("project", project, fleet.projects)
    if manner.json:
        print_json([asdict(one) for one in found])
    elif not found:
        click.echo("nothing was brought anywhere yet")
    else:
        print_table(HEADINGS, [_row(one, now) for one in found], flexible=len(HEADINGS) - 1, wrap=True)


def _row(one: SyncEntry, now: float) -> tuple[str, ...]:
    return (ago(one.at, now), one.project, one.release[:12] or "-", one.node, one.source or "-", one.why, _words(one))


def _words(one: SyncEntry) -> str:
    from infra_tasks.model.amounts import bytes_in_words, files_in_words  # noqa: PLC0415

    if one.said == "failed":
        return f"FAILED: {one.error or 'nothing said why'}"
    if one.said in {"held", "found right"}:
        return one.said
    shared = f", {one.shared_files:,} shared" if one.shared_files else ""
    sent = f"{files_in_words(one.files)}, {bytes_in_words(one.size_bytes)}"
    return f"{one.said} {sent} in {one.duration_s:.1f} s{shared}"
