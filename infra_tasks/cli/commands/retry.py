"""`infra retry`: runs a finished run once more, as a new run."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from infra_tasks.cli.command import command as make
from infra_tasks.cli.door import answering_ledger, open_fleet, open_home
from infra_tasks.cli.printing import print_json
from infra_tasks.cli.run_view import short

if TYPE_CHECKING:
    from infra_tasks.cli.manner import Manner

EXAMPLES = """
infra retry 3fa2c1
"""


@make("retry", EXAMPLES)
@click.argument("run")
@click.pass_obj
def command(manner: Manner, /, run: str) -> None:
    """Run the spec of the finished RUN once more.

    A final state is for good: this makes a new run, which remembers RUN as its retry_of. A project's code is taken as
    it is now. Of a run that has left the history the spec is taken from the archive of this node.
    """
    from infra_tasks.cli.named_run import named_run  # noqa: PLC0415
    from infra_tasks.submit import again  # noqa: PLC0415  pydantic

    home = open_home()
    fleet = open_fleet(home)
    with answering_ledger(home) as ledger:
        found = named_run(home, ledger, run)
        old = found.run
        new_id = ledger.runs.submit(again(old, fleet, home=home, actor="cli"))
    if manner.json:
        print_json({"id": new_id, "retry_of": old.id})
    else:
        where = " (its spec is from the archive)" if found.archived else ""
        click.echo(f"run {short(new_id)} is on its way, a retry of {short(old.id)}{where}")
        click.echo(f"  infra logs {short(new_id)} -f")
