"""`infra top`: the fleet as it works."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from infra_tasks.cli.command import command as make
from infra_tasks.cli.door import answering_ledger, open_fleet, open_home
from infra_tasks.cli.exit_codes import DONE
from infra_tasks.cli.printing import print_json

if TYPE_CHECKING:
    from infra_tasks.cli.manner import Manner
    from infra_tasks.cli.top.looking import Snapshot

EXAMPLES = """
infra top
infra top --json
"""


@make("top", EXAMPLES)
@click.pass_obj
def command(manner: Manner, /) -> int:
    """Show nodes and live runs as they change. Without a terminal, and with --json: once, as they are.

    Keys: arrows or j and k move, s sorts by something else, / filters, l shows the output of the run (Esc goes back),
    c cancels it, q ends. No run ends with it.
    """
    from infra_tasks.cli.screen import is_able  # noqa: PLC0415

    home = open_home()
    open_fleet(home)
    if not manner.json and is_able() and sys.stdin.isatty():
        from infra_tasks.cli.top.loop import run_top  # noqa: PLC0415

        return run_top(home)
    from infra_tasks.cli.top.looking import Looking  # noqa: PLC0415

    with answering_ledger(home) as ledger:
        seen = Looking(home, ledger)()
    if manner.json:
        print_json(seen.as_json())
    else:
        _print(seen)
    return DONE


def _print(seen: Snapshot) -> None:
    from infra_tasks.cli.terminal import width  # noqa: PLC0415
    from infra_tasks.cli.top.drawing import plain_lines  # noqa: PLC0415

    for line in plain_lines(seen, width()):
        click.echo(line)
