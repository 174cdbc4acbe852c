"""`infra completion`: prints what a shell needs to complete `infra`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from infra_tasks.cli.command import command as make
from infra_tasks.cli.printing import print_json

if TYPE_CHECKING:
    from infra_tasks.cli.manner import Manner

EXAMPLES = """
infra completion bash >> ~/.bashrc
infra completion zsh > ~/.zfunc/_infra
infra completion fish > ~/.config/fish/completions/infra.fish
source <(infra completion bash)
"""


@make("completion", EXAMPLES)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]), metavar="bash|zsh|fish")
@click.pass_obj
def command(manner: Manner, /, shell: str) -> None:
    """Print the script that completes commands, options, runs, nodes, projects and labels in your shell.

    Runs are asked of the fleet; where it does not answer in a moment, nothing is offered.
    """
    from infra_tasks.cli.completion import script  # noqa: PLC0415

    if manner.json:
        print_json({"shell": shell, "script": script(shell)})
    else:
        click.echo(script(shell), nl=False)
