"""`infra schedule resume`: fires a paused schedule again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from infra_tasks.cli.command import command as make
from infra_tasks.cli.door import answering_ledger, open_fleet, open_home
from infra_tasks.cli.printing import print_json

if TYPE_CHECKING:
    from infra_tasks.cli.manner import Manner

EXAMPLES = """
infra schedule resume nightly
"""


@make("resume", EXAMPLES)
@click.argument("schedule", metavar="NAME")
@click.pass_obj
def command(manner: Manner, /, schedule: str) -> None:
    """Fire the schedule NAME again, beginning with its next slot: what came while it was paused was not missed."""
    from infra_tasks.schedules.change import named, resume  # noqa: PLC0415  pydantic

    home = open_home()
    fleet = open_fleet(home)
    with answering_ledger(home) as ledger:
        entry = named(fleet, ledger.schedules.read(), schedule)
        resume(ledger, entry)
        table = entry.schedule.timetable
        coming = table.following(ledger.nodes.now())
    if manner.json:
        print_json({"name": schedule, "paused": None, "next_at": coming[0] if coming else None})
    else:
        click.echo(f"{schedule} is fired again, {table.next_words(coming)}")
