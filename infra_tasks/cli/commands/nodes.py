"""`infra nodes`: the machines of the fleet and how they are."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from infra_tasks.cli.command import command as make
from infra_tasks.cli.door import answering_ledger, open_fleet, open_home
from infra_tasks.cli.printing import print_json, print_table

if TYPE_CHECKING:
    from infra_tasks.cli.manner import Manner

SPARE = ("VERSION", "RELEASES", "MEMORY", "DISK", "SEEN")
EXAMPLES = """
infra nodes
infra nodes --json
"""


@make("nodes", EXAMPLES)
@click.pass_obj
def command(manner: Manner, /) -> None:
    """List the nodes of nodes.json and those that spoke: slots in use, load of one minute for each core, room, roles.

    UNREACHABLE: it has not spoken for half a minute. What a node said about its roles counts for five seconds. A
    narrow terminal shows fewer columns; a pipe and --json have all.
    """
    from infra_tasks.cli.nodes_view import HEADINGS, views  # noqa: PLC0415
    from infra_tasks.cli.own_node import own_node  # noqa: PLC0415

    home = open_home()
    fleet = open_fleet(home)
    with answering_ledger(home) as ledger:
        nodes = views(fleet, ledger.nodes.all(also=fleet.nodes), ledger.code.releases(), own_node(home, fleet))
    if manner.json:
        print_json([node.as_json() for node in nodes])
    else:
        print_table(HEADINGS, [node.row() for node in nodes], flexible=len(HEADINGS) - 1, wrap=True, spare=SPARE)
