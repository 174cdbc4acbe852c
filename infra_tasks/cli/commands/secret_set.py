"""`infra secret set`: keeps a secret on this node, asked for without echo or read from stdin."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from infra_tasks.cli.command import command as make
from infra_tasks.cli.door import open_home
from infra_tasks.cli.params import secret_name
from infra_tasks.cli.printing import print_json
from infra_tasks.cli.terminal import is_interactive
from infra_tasks.errors import BadInput

if TYPE_CHECKING:
    from infra_tasks.cli.manner import Manner

EXAMPLES = """
infra secret set api
pass show api | infra secret set api
ssh mac-2 infra secret set api < key.pem
"""


@make("set", EXAMPLES)
@click.argument("name", type=secret_name)
@click.pass_obj
def command(manner: Manner, /, name: str) -> None:
    """Keep the secret NAME on this node. Its value is asked for, or read from stdin; one line end is left out.

    A command gets it with `infra run --secret TOKEN=NAME`, or {"TOKEN": {"secret": "NAME"}} in the env of a spec. It is
    kept in the file secrets.json of INFRA_HOME, for this node alone: set it on each node whose runs need it.
    """
    from infra_tasks.model.secret_rules import value_complaint  # noqa: PLC0415
    from infra_tasks.secret_store.file import SecretsFile  # noqa: PLC0415

    file = SecretsFile(open_home().secrets_json)
    file.read()  # what is wrong with it is told before anybody types a secret
    value = _value(name)
    if wrong := value_complaint(value):
        raise BadInput(f"secret {name!r}: its value {wrong}")
    replaced = file.set(name, value)
    if manner.json:
        print_json({"name": name, "replaced": replaced, "file": str(file.path)})
    else:
        click.echo(f"{name} is {'replaced' if replaced else 'kept'} in {file.path}")


def _value(name: str) -> str:
    if is_interactive():
        return str(click.prompt(f"Value of {name}", hide_input=True, confirmation_prompt="Once more", err=True))
    said = sys.stdin.buffer.read().decode(errors="surrogateescape")
    return said.removesuffix("\n").removesuffix("\r")
