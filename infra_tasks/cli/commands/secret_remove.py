"""`infra secret remove`: forgets a secret of this node."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from infra_tasks.cli.command import command as make
from infra_tasks.cli.door import open_home
from infra_tasks.cli.printing import print_json
from infra_tasks.errors import BadInput

if TYPE_CHECKING:
    from infra_tasks.cli.manner import Manner

EXAMPLES = """
infra secret remove api
"""


@make("remove", EXAMPLES)
@click.argument("name")
@click.pass_obj
def command(manner: Manner, /, name: str) -> None:
    """Forget the secret NAME on this node. Runs that started with it keep it; a later start fails and says so."""
    from infra_tasks.model.nearest import did_you_mean  # noqa: PLC0415
    from infra_tasks.secret_store.file import SecretsFile  # noqa: PLC0415

    file = SecretsFile(open_home().secrets_json)
    if not file.remove(name):
        raise BadInput(f"no secret {name!r} in {file.path}{did_you_mean(name, file.read())}")
    if manner.json:
        print_json({"name": name, "removed": True})
    else:
        click.echo(f"{name} is removed")
