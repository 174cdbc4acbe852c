"""`infra cancel`: asks a run to stop."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from infra_tasks.cli.command import command as make
from infra_tasks.cli.door import answering_ledger, open_home
from infra_tasks.cli.printing import print_json
from infra_tasks.cli.run_view import short

if TYPE_CHECKING:
    from infra_tasks.cli.manner import Manner

EXAMPLES = """
infra cancel 3fa2c1
infra cancel 3fa2c1 --kill
"""


@make("cancel", EXAMPLES)
@click.argument("run")
@click.option("--kill", is_flag=True, help="Kill at once, without the grace the command has to end by itself.")
@click.pass_obj
def command(manner: Manner, /, run: str, *, kill: bool) -> None:
    """Stop RUN, wherever it is on its way.

    A run that waits is REVOKED at once. A command that runs gets SIGTERM and, when its grace is over, SIGKILL with all
    its processes; the wish is kept, also when its node cannot be reached right now.
    """
    with answering_ledger(open_home()) as ledger:
        run_id = ledger.runs.known(run)
        before = ledger.runs.peek(run_id)[0]
        state = ledger.runs.cancel(run_id, actor="cli", kill=kill)
    if manner.json:
        print_json({"id": run_id, "state": state, "cancel_asked": state not in ("SUCCESS", "FAILURE", "REVOKED")})
        return
    click.echo(_told(run_id, str(before), state, kill=kill))


def _told(run_id: str, before: str, state: str, *, kill: bool) -> str:
    if before == state and state in ("SUCCESS", "FAILURE", "REVOKED"):
        return f"run {short(run_id)} is {state} already"
    if state == "REVOKED":
        return f"run {short(run_id)} is REVOKED; it had not started"
    return f"run {short(run_id)} {'will be killed' if kill else 'was asked to stop'}; see `infra show {short(run_id)}`"
