"""`infra config check`: tells every mistake in nodes.json, with its line."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from infra_tasks.cli.command import command as make
from infra_tasks.cli.door import open_fleet, open_home
from infra_tasks.cli.printing import print_json
from infra_tasks.errors import BadInput

if TYPE_CHECKING:
    from infra_tasks.cli.manner import Manner

EXAMPLES = """
infra config check
infra config check new-nodes.json
"""


@make("check", EXAMPLES)
@click.argument("file", required=False)
@click.pass_obj
def command(manner: Manner, /, file: str | None) -> None:
    """Tell every mistake in nodes.json (or FILE) at once: line, column, JSON path, what was found, what is allowed.

    Exit code 0 when it is right, 2 when not. A running fleet goes on with what was right before.
    """
    from infra_tasks.model.fleet import parse_fleet  # noqa: PLC0415  pydantic

    home = open_home()
    if not file and not home.nodes_json.exists():
        open_fleet(home)  # says how to make one
    path = Path(file) if file else home.nodes_json
    fleet = parse_fleet(_read(path), str(path))
    nodes, projects = list(fleet.nodes), list(fleet.projects)
    if manner.json:
        print_json({"file": str(path), "fleet": fleet.name, "nodes": nodes, "projects": projects})
    else:
        click.echo(f"{path}: right; fleet {fleet.name}, {_count(nodes, 'node')}, {_count(projects, 'project')}")


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise BadInput(f"{path} does not exist") from None
    except OSError as error:
        raise BadInput(f"{path}: {error.strerror or error}") from error


def _count(names: list[str], noun: str) -> str:
    return f"1 {noun}" if len(names) == 1 else f"{len(names)} {noun}s"
