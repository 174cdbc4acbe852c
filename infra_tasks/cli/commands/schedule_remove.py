"""`infra schedule remove`: takes a schedule out of the ledger."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from infra_tasks.cli.command import command as make
from infra_tasks.cli.door import answering_ledger, open_fleet, open_home
from infra_tasks.cli.printing import print_json
from infra_tasks.errors import BadInput

if TYPE_CHECKING:
    from infra_tasks.cli.manner import Manner
    from infra_tasks.settings import Home

EXAMPLES = """
infra schedule remove nightly
"""


@make("remove", EXAMPLES)
@click.argument("schedule", metavar="NAME")
@click.pass_obj
def command(manner: Manner, /, schedule: str) -> None:
    """Take the schedule NAME out. Runs it has made go on; one that is written in nodes.json is taken out there."""
    from infra_tasks.schedules.change import named, remove  # noqa: PLC0415  pydantic

    home = open_home()
    fleet = open_fleet(home)
    with answering_ledger(home) as ledger:
        if named(fleet, ledger.schedules.read(), schedule).added is None:
            raise BadInput(f"schedule {schedule!r} is written in {_place(home, schedule)}: take it out there")
        remove(ledger, schedule)
    if manner.json:
        print_json({"name": schedule, "removed": True})
    else:
        click.echo(f"{schedule} is removed")


def _place(home: Home, schedule: str) -> str:
    from infra_tasks.model.fleet_text import line_of, places_in  # noqa: PLC0415

    line = line_of(places_in(home.nodes_json.read_bytes()), ("schedules", schedule))
    return f"{home.nodes_json}:{line}" if line else str(home.nodes_json)
