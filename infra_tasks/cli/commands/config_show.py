"""`infra config show`: what holds for this node, and where each value comes from."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from infra_tasks import settings
from infra_tasks.cli.command import command as make
from infra_tasks.cli.door import open_fleet, open_home
from infra_tasks.cli.path_text import path_text
from infra_tasks.cli.printing import print_json, print_table

if TYPE_CHECKING:
    from infra_tasks.cli.config_view import Value
    from infra_tasks.cli.manner import Manner

EXAMPLES = """
infra config show
infra config show --json
"""


@make("show", EXAMPLES)
@click.pass_obj
def command(manner: Manner, /) -> None:
    """Tell every setting of this fleet and where it comes from: a line of nodes.json, the environment, or the default.

    Passwords in the address of a broker are not shown; secrets are not among the settings (`infra secret list`).
    """
    from infra_tasks.cli.config_view import values  # noqa: PLC0415  pydantic
    from infra_tasks.model.fleet_text import places_in  # noqa: PLC0415

    home = open_home()
    fleet = open_fleet(home)
    found = values(fleet, places_in(home.nodes_json.read_bytes()), settings.said())
    if manner.json:
        print_json([_as_json(each) for each in found])
        return
    click.echo(f"{home.nodes_json}\n")
    print_table(("SETTING", "VALUE", "FROM"), [_row(each) for each in found], flexible=1)


def _as_json(one: Value) -> dict[str, Any]:
    return {"setting": one.name, "value": one.value, "from": one.source, "line": one.line}


def _row(one: Value) -> tuple[str, ...]:
    value = one.value if isinstance(one.value, str) else json.dumps(one.value, ensure_ascii=False)
    return (one.name, path_text(value), f"{one.source}:{one.line}" if one.line else one.source)
