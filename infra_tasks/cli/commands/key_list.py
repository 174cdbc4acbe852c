"""`infra key list`: the host keys this node trusts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from infra_tasks.cli.command import command as make
from infra_tasks.cli.door import open_home
from infra_tasks.cli.peers import peers
from infra_tasks.cli.printing import print_json, print_table

if TYPE_CHECKING:
    from infra_tasks.cli.manner import Manner
    from infra_tasks.settings import Home

EXAMPLES = """
infra key list
infra key list --json
"""


@make("list", EXAMPLES)
@click.pass_obj
def command(manner: Manner, /) -> None:
    """List the nodes that are reached over ssh and the host keys this node trusts; no node is asked."""
    from infra_tasks.releases.remote import known_hosts  # noqa: PLC0415

    home = open_home()
    rows = _rows(home)
    if manner.json:
        print_json([dict(zip(("node", "address", "type", "fingerprint"), row, strict=True)) for row in rows])
    elif not rows:
        click.echo(f"no node of nodes.json is reached over ssh, and {known_hosts.file_of(home)} has no key")
    else:
        shown = [(row[0] or "-", row[1], row[2] or "-", row[3] or "none accepted") for row in rows]
        print_table(("NODE", "ADDRESS", "TYPE", "FINGERPRINT"), shown, flexible=3, wrap=True)


def _rows(home: Home) -> list[tuple[str | None, str, str | None, str | None]]:
    """Return node, address, type and fingerprint: a node without a key has none, a key may belong to no node."""
    from infra_tasks.releases.remote import known_hosts  # noqa: PLC0415
    from infra_tasks.releases.remote.host_key import where  # noqa: PLC0415

    rows: list[tuple[str | None, str, str | None, str | None]] = []
    claimed = set()
    for node, address in peers(home).items():
        keys = known_hosts.known(home, address)
        claimed.update(keys)
        rows += [(node, where(address), key.type, key.fingerprint) for key in keys]
        rows += [] if keys else [(node, where(address), None, None)]
    others = [one for one in known_hosts.accepted(home) if one.key not in claimed]
    return rows + [(None, ",".join(one.names), one.key.type, one.key.fingerprint) for one in others]
