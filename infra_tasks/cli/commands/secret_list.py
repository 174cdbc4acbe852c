"""`infra secret list`: the names of the secrets this node keeps."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from infra_tasks.cli.command import command as make
from infra_tasks.cli.door import open_home
from infra_tasks.cli.printing import print_json

if TYPE_CHECKING:
    from infra_tasks.cli.manner import Manner

EXAMPLES = """
infra secret list
infra secret list --json
"""


@make("list", EXAMPLES)
@click.pass_obj
def command(manner: Manner, /) -> None:
    """List the names of the secrets this node keeps. What a secret_command of nodes.json knows is not among them."""
    from infra_tasks.secret_store.file import SecretsFile  # noqa: PLC0415

    file = SecretsFile(open_home().secrets_json)
    names = sorted(file.read())
    if manner.json:
        print_json({"secrets": names, "file": str(file.path)})
    elif names:
        click.echo("\n".join("".join(c if c.isprintable() else "?" for c in name) for name in names))
    else:
        click.echo(f"no secrets in {file.path}; `infra secret set NAME` keeps one")
