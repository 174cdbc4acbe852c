"""`infra up`: starts this node."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from infra_tasks.cli.command import command as make
from infra_tasks.cli.door import open_home
from infra_tasks.cli.here import Here
from infra_tasks.cli.printing import print_json
from infra_tasks.cli.terminal import note

if TYPE_CHECKING:
    from infra_tasks.cli.manner import Manner
    from infra_tasks.settings import Home

EXAMPLES = """
infra up --detach
infra up
"""


@make("up", EXAMPLES)
@click.option("--detach", is_flag=True, help="Start in the background; return when all roles are up.")
@click.pass_obj
def command(manner: Manner, /, *, detach: bool) -> None:
    """Start this node: its roles, and the watcher that keeps them alive.

    Without --detach it stays in this terminal until Ctrl-C, which ends the running commands as well. With --detach a
    node that is up already is fine. Commands that went on while the node was down are taken over.
    """
    from infra_tasks.cli import watcher_process  # noqa: PLC0415
    from infra_tasks.errors import AlreadyRunning  # noqa: PLC0415
    from infra_tasks.node import this_node  # noqa: PLC0415

    home = open_home()
    here, node = Here(home), this_node(home).name
    there = here.watcher()
    if there and not detach:
        raise AlreadyRunning(f"node {node} is up already (watcher pid {there['pid']}); `infra down` stops it")
    if not detach:
        watcher_process.become(home)
    if not there:
        _start(home, here)
    watcher = here.watcher() or {}
    if manner.json:
        print_json({"node": node, "already_up": bool(there), "watcher": watcher, "roles": here.roles()})
    else:
        click.echo(f"node {node} is up{' already' if there else ''} (watcher pid {watcher.get('pid')})")


def _start(home: Home, here: Here) -> None:
    from infra_tasks.cli import watcher_process  # noqa: PLC0415

    try:
        watcher_process.ask(home, "--detach", progress=lambda: _progress(home))
    except KeyboardInterrupt:
        if here.watcher():
            note("the node goes on starting: `infra status` tells how far it is, `infra down` stops it")
        raise


def _progress(home: Home) -> str:
    waited_for = [role["name"] for role in Here(home).roles() if role["state"] != "running"]
    return f"starting {waited_for[0]} ..." if waited_for else "starting ..."
