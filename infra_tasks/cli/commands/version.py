"""`infra version`: the versions of infra and of what it stands on."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import click

from infra_tasks import __version__
from infra_tasks.cli.command import command as make
from infra_tasks.cli.printing import print_facts, print_json

if TYPE_CHECKING:
    from infra_tasks.cli.manner import Manner

EXAMPLES = """
infra version
infra version --json
"""


@make("version", EXAMPLES)
@click.pass_obj
def command(manner: Manner, /) -> None:
    """Tell the versions of infra, Python, Celery, the Redis client and the system, for a report of something wrong."""
    from importlib.metadata import version  # noqa: PLC0415

    system = os.uname()
    said = {
        "infra": __version__,
        "python": ".".join(map(str, sys.version_info[:3])),
        "celery": version("celery"),
        "redis_client": version("redis"),
        "platform": f"{system.sysname} {system.release} {system.machine}",
    }
    if manner.json:
        print_json(said)
    else:
        print_facts([(name.replace("_", " "), text) for name, text in said.items()])
