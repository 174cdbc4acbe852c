"""The options of a command line that say what to run, and the spec they make."""

from __future__ import annotations

from functools import reduce
from typing import TYPE_CHECKING, Any

import click

from infra_tasks.cli.params import secret, size, span, variable
from infra_tasks.errors import BadInput

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

OPTIONS = (
    click.option("--node", help="Only this node; else any that has the labels."),
    click.option("--project", help="Run in the code of this project."),
    click.option("--label", "labels", multiple=True, help="Only nodes that have it."),
    click.option(
        "--timeout", "timeout_s", type=span, metavar="SPAN", help="Hard limit: 90, 10m, 1h30m (default: the fleet's)."
    ),
    click.option(
        "--memory",
        "memory_bytes",
        type=size,
        metavar="SIZE",
        help="End it when its processes hold more together: 512M, 2G (default: no limit).",
    ),
    click.option(
        "--env", multiple=True, type=variable, metavar="K=V", help="For its environment; K alone hands yours on."
    ),
    click.option(
        "--secret",
        "secrets",
        multiple=True,
        type=secret,
        metavar="K=NAME",
        help="K gets the secret NAME (`infra secret set`) on the node.",
    ),
    click.option("--retries", type=click.IntRange(0), help="Try again so often when it fails."),
    click.option(
        "--output",
        "outputs",
        multiple=True,
        metavar="PATTERN",
        help="Bring these files of its scratch folder back here.",
    ),
    click.option("--name", help="What people call it."),
    click.option(
        "--max-running",
        type=click.IntRange(1),
        metavar="N",
        help="Wait while N runs of the same --name run in the fleet.",
    ),
    click.option("--private", is_flag=True, default=None, help="In a writable copy of the project's code."),
)


def spec_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options that make a spec, in their order in the help."""
    return reduce(lambda made, option: option(made), reversed(OPTIONS), command)


def spec_of(words: tuple[str, ...], said: dict[str, Any]) -> dict[str, Any]:
    """Return the spec of a command line: only what was said."""
    spec = {name: value for name, value in said.items() if value not in (None, ()) and name != "secrets"}
    if said["env"] or said["secrets"]:
        spec["env"] = _env(said["env"], said["secrets"])
    for name in ("labels", "outputs"):
        if said[name]:
            spec[name] = list(said[name])
    return {"command": list(words), **spec}


def _env(variables: Sequence[tuple[str, str]], secrets: Sequence[tuple[str, str]]) -> dict[str, Any]:
    env: dict[str, Any] = dict(variables)
    twice = [name for name, _ in secrets if name in env]
    if twice:
        raise BadInput(f"{twice[0]!r} is given with --env and with --secret; say it once")
    return env | {name: {"secret": which} for name, which in secrets}
