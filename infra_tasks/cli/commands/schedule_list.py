"""`infra schedule list`: the schedules there are, when they are due next, and what became of the last run."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from infra_tasks.cli.command import command as make
from infra_tasks.cli.door import answering_ledger, open_fleet, open_home
from infra_tasks.cli.printing import print_json, print_table

if TYPE_CHECKING:
    from infra_tasks.cli.manner import Manner

EXAMPLES = """
infra schedule list
infra schedule list --json
"""


@make("list", EXAMPLES)
@click.pass_obj
def command(manner: Manner, /) -> None:
    """List the schedules: those of nodes.json, and those added to the ledger. Moments are those of each one's own zone.

    --json tells all: the spec, the policies, the next three slots, the last slot's run and its state, who paused it.
    """
    from infra_tasks.cli.schedules_view import HEADINGS, as_json, remarks, row  # noqa: PLC0415
    from infra_tasks.schedules.entries import entries  # noqa: PLC0415  pydantic

    home = open_home()
    fleet = open_fleet(home)
    with answering_ledger(home) as ledger:
        seen = ledger.schedules.read()
        found = [(entry, seen.of(name)) for name, entry in entries(fleet, seen).items()]
        runs = [progress.run for _, progress in found if progress and progress.run]
        states = dict(zip(runs, ledger.runs.states(runs), strict=True))
    said = [as_json(entry, progress, states, seen.now) for entry, progress in found]
    if manner.json:
        print_json(said)
    elif not said:
        click.echo("no schedules; `infra schedule add` makes one, or write them under 'schedules' in nodes.json")
    else:
        print_table(HEADINGS, [row(each) for each in said], flexible=5)
        for each in said:
            for line in remarks(each, seen.now):
                click.echo(line)
