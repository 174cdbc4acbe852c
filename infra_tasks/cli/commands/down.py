"""`infra down`: stops this node."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from infra_tasks.cli.command import command as make
from infra_tasks.cli.door import open_home
from infra_tasks.cli.exit_codes import DONE, FAILED
from infra_tasks.cli.here import Here
from infra_tasks.cli.printing import print_json
from infra_tasks.cli.terminal import agreed, is_interactive, note

if TYPE_CHECKING:
    from infra_tasks.cli.manner import Manner

GONE = (None, "stopped", "dead")
EXAMPLES = """
infra down
infra down --keep
infra down --yes
"""


@make("down", EXAMPLES)
@click.option("--keep", is_flag=True, help="Let running commands go on; the next `infra up` takes them over.")
@click.option("--yes", is_flag=True, help="Do not ask before running commands are ended.")
@click.pass_obj
def command(manner: Manner, /, *, keep: bool, yes: bool) -> int:
    """Stop this node: its roles, its watcher, and the commands that run on it.

    The runs of commands that are ended go back to their queue and start again when a node can take them.
    """
    home = open_home()
    here = Here(home)
    if here.watcher() is None:
        _tell(manner, f"no watcher runs for {home.root}: nothing to stop", was_up=False, ended=0)
        return DONE
    running = here.running()
    if running and not keep and not yes and is_interactive() and not _agreed(running):
        click.echo("the node stays up; `infra down --keep` stops it and lets commands go on", err=True)
        return FAILED
    from infra_tasks.cli import watcher_process  # noqa: PLC0415

    try:
        watcher_process.ask(home, "--down", *([] if keep else ["--kill"]), progress=lambda: _progress(here, keep=keep))
    except KeyboardInterrupt:
        note("the node may go on stopping: `infra status` tells, and `infra down` can be asked again")
        raise
    left = here.running()
    said = f"; {_commands(left)} on, the next `infra up` takes over" if left else ""
    _tell(manner, f"the node is down{said}", was_up=True, ended=running - left)
    return DONE


def _tell(manner: Manner, text: str, *, was_up: bool, ended: int) -> None:
    if manner.json:
        print_json({"was_up": was_up, "commands_ended": max(0, ended)})
    else:
        click.echo(text)


def _agreed(running: int) -> bool:
    return agreed(f"{_commands(running)} here. End {'it' if running == 1 else 'them'}?")


def _commands(count: int) -> str:
    return f"{count} command{' runs' if count == 1 else 's run'}"


def _progress(here: Here, *, keep: bool) -> str:
    running = here.running()
    if running and not keep:
        return f"ending {running} command{'' if running == 1 else 's'} ..."
    living = [role["name"] for role in here.roles() if role["state"] not in GONE]
    return f"stopping {living[-1]} ..." if living else "stopping ..."
