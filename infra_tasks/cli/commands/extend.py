"""`infra extend`: gives a run more time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from infra_tasks.cli import spans
from infra_tasks.cli.command import command as make
from infra_tasks.cli.door import answering_ledger, open_fleet, open_home
from infra_tasks.cli.params import span
from infra_tasks.cli.printing import print_json
from infra_tasks.cli.run_view import short

if TYPE_CHECKING:
    from infra_tasks.cli.manner import Manner

EXAMPLES = """
infra extend 3fa2c1 --by 10m
infra extend 3fa2c1 --by 1h30m
"""


@make("extend", EXAMPLES)
@click.argument("run")
@click.option("--by", "by_s", type=span, metavar="SPAN", required=True, help="How much more: 90, 90s, 10m, 1h30m.")
@click.pass_obj
def command(manner: Manner, /, run: str, *, by_s: float) -> None:
    """Give RUN more time, before it starts or while its command runs.

    The new limit stays within the fleet's ceiling (limits.timeout_s in nodes.json).
    """
    home = open_home()
    ceiling_s = float(open_fleet(home).limits.timeout_s)
    with answering_ledger(home) as ledger:
        run_id = ledger.runs.known(run)
        timeout_s = ledger.runs.extend(run_id, by_s, ceiling_s=ceiling_s, actor="cli")
    if manner.json:
        print_json({"id": run_id, "timeout_s": timeout_s})
    else:
        click.echo(f"run {short(run_id)} may take {spans.words(timeout_s)} now")
