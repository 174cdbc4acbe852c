"""`infra node drain`: places nothing new on a node, and waits until it is empty."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from infra_tasks.cli.command import command as make
from infra_tasks.cli.door import open_home
from infra_tasks.cli.params import span

if TYPE_CHECKING:
    from infra_tasks.cli.manner import Manner

EXAMPLES = """
infra node drain mac-2
infra node drain mac-2 --deadline 30m --move --why 'macOS update'
"""


@make("drain", EXAMPLES)
@click.argument("node")
@click.option("--deadline", "deadline_s", type=span, metavar="SPAN", help="Stop what still runs when it is over.")
@click.option("--move", is_flag=True, help="Let others take what waits for NODE, unless its spec names NODE.")
@click.option("--why", metavar="TEXT", help="Told to whoever asks why nothing runs there.")
@click.pass_obj
def command(manner: Manner, /, node: str, *, deadline_s: float | None, move: bool, why: str | None) -> int:
    """Place nothing new on NODE and wait until nothing runs there any more, saying what is waited for.

    The fleet carries it on whether or not somebody watches: Ctrl-C ends the watching only. NODE stays cordoned until
    `infra node uncordon`.

    What runs at the deadline is stopped, and is run again on another node without using a retry. A run whose spec names
    NODE waits for it to take runs again; one that must not be run twice (`retry_on` without node_lost) has failed.
    """
    from infra_tasks.cli.draining import Drain, drain  # noqa: PLC0415

    return drain(open_home(), Drain(node, deadline_s, moves=move, why=why), manner)
