"""`infra key forget`: trusts the host key of a node no more."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from infra_tasks.cli.command import command as make
from infra_tasks.cli.door import open_home
from infra_tasks.cli.peers import peer_named
from infra_tasks.cli.printing import print_json

if TYPE_CHECKING:
    from infra_tasks.cli.manner import Manner

EXAMPLES = """
infra key forget mac-2
"""


@make("forget", EXAMPLES)
@click.argument("node")
@click.pass_obj
def command(manner: Manner, /, node: str) -> None:
    """Trust the host key of NODE no more: nothing is sent there until a key is accepted again."""
    from infra_tasks.releases.remote import known_hosts  # noqa: PLC0415

    home = open_home()
    gone = known_hosts.forget(home, peer_named(home, node))
    if manner.json:
        print_json({"node": node, "forgotten": [{"type": key.type, "fingerprint": key.fingerprint} for key in gone]})
    elif gone:
        click.echo(f"forgotten: {', '.join(map(str, gone))} of {node}")
    else:
        click.echo(f"no key of {node} was accepted: there is nothing to forget")
