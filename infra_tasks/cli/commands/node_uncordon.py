"""`infra node uncordon`: places runs on a node again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from infra_tasks.cli.command import command as make
from infra_tasks.cli.door import answering_ledger, open_fleet, open_home
from infra_tasks.cli.printing import print_json

if TYPE_CHECKING:
    from infra_tasks.cli.manner import Manner

EXAMPLES = """
infra node uncordon mac-2
"""


@make("uncordon", EXAMPLES)
@click.argument("node")
@click.pass_obj
def command(manner: Manner, /, node: str) -> None:
    """Place runs on NODE again, whoever had cordoned or drained it, and say what that was.

    The system cordons a node itself when processes of a run could not be killed: end those first.
    """
    from infra_tasks.cli.cordon_words import cordon_words  # noqa: PLC0415
    from infra_tasks.cli.names import check_node  # noqa: PLC0415
    from infra_tasks.cli.who import who  # noqa: PLC0415

    home = open_home()
    fleet = open_fleet(home)
    with answering_ledger(home) as ledger:
        check_node(fleet, ledger, node)
        before = ledger.nodes.uncordon(node, actor=who())
    lifted = cordon_words(before)
    if manner.json:
        said = {name: text for name, text in before.items() if text and name != "cordoned"}
        print_json({"node": node, "cordoned": False, "lifted": said if lifted else None})
    elif lifted:
        click.echo(f"{node} takes runs again; it was {lifted}")
    else:
        click.echo(f"{node} was not cordoned: it takes runs")
