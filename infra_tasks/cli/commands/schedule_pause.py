"""`infra schedule pause`: fires nothing of a schedule until it is resumed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from infra_tasks.cli.command import command as make
from infra_tasks.cli.door import answering_ledger, open_fleet, open_home
from infra_tasks.cli.path_text import path_text
from infra_tasks.cli.printing import clock_time, print_json
from infra_tasks.cli.who import who

if TYPE_CHECKING:
    from infra_tasks.cli.manner import Manner

EXAMPLES = """
infra schedule pause nightly
infra schedule pause nightly --why 'the disk is being moved'
"""


@make("pause", EXAMPLES)
@click.argument("schedule", metavar="NAME")
@click.option("--why", default="", metavar="TEXT", help="Told to whoever lists the schedules.")
@click.pass_obj
def command(manner: Manner, /, schedule: str, *, why: str) -> None:
    """Fire nothing of the schedule NAME until `infra schedule resume`. What goes on goes on; the pause lasts."""
    from infra_tasks.schedules.change import named, pause  # noqa: PLC0415  pydantic

    home = open_home()
    fleet = open_fleet(home)
    with answering_ledger(home) as ledger:
        said = pause(ledger, named(fleet, ledger.schedules.read(), schedule), who(), why).paused or {}
    if manner.json:
        print_json({"name": schedule, "paused": said})
    else:
        click.echo(f"{schedule} is paused (by {path_text(said.get('by', ''))}, {clock_time(said.get('at'))})")
