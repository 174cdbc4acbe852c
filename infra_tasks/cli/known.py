"""Names the fleet knows - nodes, projects, labels, runs - as values of a command line: a shell completes them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click
from click.types import StringParamType

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

# What a parameter with this name takes.
KINDS = {
    "node": "node",
    "nodes": "node",
    "project": "project",
    "labels": "label",
    "run": "run",
    "runs": "run",
    "schedule": "schedule",
    "file": "file",
    "files": "file",
}


class Known(StringParamType):
    """A text, usually one of those the fleet knows."""

    def __init__(self, kind: str) -> None:
        self._kind = kind

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:  # noqa: ARG002  click's signature
        """Return what begins as `incomplete` does."""
        from infra_tasks.cli.suggestions import suggestions  # noqa: PLC0415  only a shell that completes needs them

        return suggestions(self._kind, ctx.info_name or "", incomplete)


def know(param: click.Parameter) -> None:
    """Let a shell complete a parameter, if its name tells what it takes."""
    kind = KINDS.get(param.name or "")
    if kind and param.type is click.STRING:
        param.type = Known(kind)
