"""`infra schedule run-now`: runs what a schedule runs, once, now."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from infra_tasks.cli.command import command as make
from infra_tasks.cli.door import answering_ledger, open_fleet, open_home
from infra_tasks.cli.printing import print_json
from infra_tasks.cli.run_view import short
from infra_tasks.cli.who import who

if TYPE_CHECKING:
    from infra_tasks.cli.manner import Manner

EXAMPLES = """
infra schedule run-now nightly
infra schedule run-now nightly --json
"""


@make("run-now", EXAMPLES)
@click.argument("schedule", metavar="NAME")
@click.pass_obj
def command(manner: Manner, /, schedule: str) -> None:
    """Run what the schedule NAME runs, once, now, also while it is paused. Its slots are not touched by that."""
    from infra_tasks.schedules.change import named  # noqa: PLC0415  pydantic
    from infra_tasks.schedules.entries import run_of  # noqa: PLC0415

    home = open_home()
    fleet = open_fleet(home)
    with answering_ledger(home) as ledger:
        entry = named(fleet, ledger.schedules.read(), schedule)
        run_id = ledger.runs.submit(run_of(entry, fleet, home, None, who()))
    if manner.json:
        print_json({"id": run_id, "schedule": schedule})
    else:
        click.echo(f"run {short(run_id)} is on its way")
        click.echo(f"  infra logs {short(run_id)} -f")
