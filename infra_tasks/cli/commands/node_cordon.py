"""`infra node cordon`: places nothing new on a node."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from infra_tasks.cli.command import command as make
from infra_tasks.cli.door import answering_ledger, open_fleet, open_home
from infra_tasks.cli.printing import print_json

if TYPE_CHECKING:
    from infra_tasks.cli.manner import Manner

EXAMPLES = """
infra node cordon mac-2
infra node cordon mac-2 --why 'new disk comes at noon'
"""


@make("cordon", EXAMPLES)
@click.argument("node")
@click.option("--why", metavar="TEXT", help="Told to whoever asks why nothing runs there.")
@click.pass_obj
def command(manner: Manner, /, node: str, *, why: str | None) -> None:
    """Place nothing new on NODE, until `infra node uncordon`; what runs there goes on.

    Runs that any node may take are taken by others, those that name NODE wait. It is kept over restarts of everything.
    """
    from infra_tasks.cli.names import check_node  # noqa: PLC0415
    from infra_tasks.cli.who import who  # noqa: PLC0415

    home = open_home()
    fleet = open_fleet(home)
    with answering_ledger(home) as ledger:
        check_node(fleet, ledger, node)
        ledger.nodes.cordon(node, why, actor=who())
        live = ledger.nodes.one(node).live
    if manner.json:
        print_json({"node": node, "cordoned": True, "cordoned_by": who(), "cordon_why": why, "live": live})
    else:
        runs = {0: "nothing runs there", 1: "the run that is there goes on"}.get(live, f"the {live} runs there go on")
        click.echo(f"{node} is cordoned: nothing new is placed on it; {runs}")
