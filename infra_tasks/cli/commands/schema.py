"""`infra schema`: JSON Schema of what users write, for their editors."""

from __future__ import annotations

import click

from infra_tasks.cli.command import command as make
from infra_tasks.cli.printing import print_json

EXAMPLES = """
infra schema spec > spec.schema.json
infra schema nodes > ~/.infra/nodes.schema.json
"""


@make("schema", EXAMPLES)
@click.argument("what", type=click.Choice(["spec", "nodes"]), metavar="spec|nodes")
def command(what: str) -> None:
    """Print the JSON Schema of a file of specs, or of nodes.json.

    An editor that has it completes names and marks mistakes: "$schema": "./nodes.schema.json" in a JSON file, a first
    line of `# yaml-language-server: $schema=./spec.schema.json` in a YAML file.
    """
    from infra_tasks.model import schemas  # noqa: PLC0415  pydantic

    print_json(schemas.spec_schema() if what == "spec" else schemas.nodes_schema())
