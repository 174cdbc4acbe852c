"""How an error is told: `error: what, which one, what was found, what to do` on stderr, the same shape everywhere.

With --json: {"error": {"kind": "BadSpec", "message": "...", "exit_code": 2}} on one line of stderr; stdout stays empty.
"""

from __future__ import annotations

import json
import traceback
from contextlib import suppress
from typing import TYPE_CHECKING

import click

from infra_tasks.cli.path_text import harmless
from infra_tasks.cli.terminal import colour

if TYPE_CHECKING:
    from infra_tasks.cli.manner import Manner


def complain(manner: Manner, error: BaseException, message: str, exit_code: int) -> None:
    """Tell an error; where stderr takes nothing, the exit code has to do."""
    with suppress(OSError):
        _tell(manner, error, message, exit_code)


def _tell(manner: Manner, error: BaseException, message: str, exit_code: int) -> None:
    if manner.debug:
        click.echo("".join(traceback.format_exception(error)), err=True, nl=False)
    if manner.json:
        said = {"kind": type(error).__name__, "message": message, "exit_code": exit_code}
        click.echo(json.dumps({"error": said}), err=True)
    else:
        click.echo(click.style("error:", fg="red", bold=True) + " " + _indented(message), err=True, color=colour())


def _indented(message: str) -> str:
    first, *rest = harmless(message.rstrip()).split("\n")
    first = first or "it failed, and nothing said why"
    return "\n".join([first, *(f"  {line}" for line in rest)])
