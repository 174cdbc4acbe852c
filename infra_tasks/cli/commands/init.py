"""`infra init`: makes a fleet of this machine, or adds projects to it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from infra_tasks.cli.command import command as make
from infra_tasks.cli.door import open_home
from infra_tasks.cli.params import project
from infra_tasks.cli.printing import print_json

if TYPE_CHECKING:
    from pathlib import Path

    from infra_tasks.cli.manner import Manner
    from infra_tasks.node import ThisNode

EXAMPLES = """
infra init
infra init --name mac-1 --slots 4 --label gpu
infra init --project hello=~/code/hello
"""


@make("init", EXAMPLES)
@click.option("--name", help="Name of this node (default: made from the hostname).")
@click.option("--fleet", help="Name of the fleet (default: home).")
@click.option("--slots", type=click.IntRange(1, 256), help="How many commands may run at once (default: 2).")
@click.option("--label", "labels", multiple=True, help="Something this node has.")
@click.option(
    "--project", "projects", multiple=True, type=project, metavar="NAME=PATH", help="A project and its source folder."
)
@click.pass_obj
def command(manner: Manner, /, *, projects: tuple[tuple[str, Path], ...], **wanted: Any) -> None:
    """Make a fleet of this machine: write nodes.json into INFRA_HOME (default ~/.infra).

    Safe to repeat: says what is there, adds projects, changes nothing else. Everything more - limits, other nodes,
    what to leave out of a project - is edited in nodes.json; a running fleet takes it up by itself.
    """
    from infra_tasks.cli import nodes_file  # noqa: PLC0415  pydantic
    from infra_tasks.node import this_node  # noqa: PLC0415

    home = open_home()
    created = not home.nodes_json.exists()
    if created:
        nodes_file.create(home, {name: value for name, value in wanted.items() if value}, dict(projects))
        added = [name for name, _ in projects]
    else:
        nodes_file.refuse_changes(home, {name: value for name, value in wanted.items() if value})
        added = nodes_file.add_projects(home, dict(projects))
    _tell(manner, this_node(home), created=created, added=added)


def _tell(manner: Manner, me: ThisNode, *, created: bool, added: list[str]) -> None:
    fleet = me.fleet
    if manner.json:
        print_json(
            {
                "created": created,
                "nodes_json": str(me.home.nodes_json),
                "fleet": fleet.name,
                "node": me.name,
                "nodes": list(fleet.nodes),
                "projects": {name: project.source for name, project in fleet.projects.items()},
                "projects_added": added,
            }
        )
        return
    click.echo(f"{me.home.nodes_json}: {'made' if created else 'is there'}")
    labels = f", labels {', '.join(me.node.labels)}" if me.node.labels else ""
    click.echo(f"  fleet {fleet.name}, this node is {me.name}: {me.node.slots} slots{labels}")
    for each, there in fleet.projects.items():
        click.echo(f"  project {each}: {there.source}{' (added)' if each in added and not created else ''}")
    if created:
        click.echo("Start it with `infra up --detach`.")
