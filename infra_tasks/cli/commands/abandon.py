"""`infra abandon`: gives up a run whose node is silent."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from infra_tasks.cli.command import command as make
from infra_tasks.cli.door import answering_ledger, open_home
from infra_tasks.cli.exit_codes import DONE, FAILED
from infra_tasks.cli.printing import print_json
from infra_tasks.cli.run_view import FINAL_STATES, short
from infra_tasks.cli.terminal import is_interactive, note

if TYPE_CHECKING:
    from infra_tasks.cli.manner import Manner
    from infra_tasks.ledger import Ledger

EXAMPLES = """
infra abandon 3fa2c1
infra abandon 3fa2c1 --yes
"""


@make("abandon", EXAMPLES)
@click.argument("run")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.pass_obj
def command(manner: Manner, /, run: str, *, yes: bool) -> int:
    """Give up RUN, which a node has that does not speak any more: it has failed from then on (node_lost).

    Otherwise a run whose spec names its node is waited for as long as the node is away. Should the node come back and
    the command still run, it is killed there; what it tells of its end is kept in the story and changes nothing.

    A run whose node speaks, or that no node has, is refused: `infra cancel` is for those.
    """
    from infra_tasks.cli.who import who  # noqa: PLC0415

    with answering_ledger(open_home()) as ledger:
        run_id = ledger.runs.known(run)
        if not yes and not _agreed(manner, ledger, run_id):
            note("nothing was given up")
            return FAILED
        state, new = ledger.abandoning.abandon(run_id, actor=who())
    if manner.json:
        print_json({"id": run_id, "state": state, "abandoned": new})
    else:
        click.echo(f"run {short(run_id)} is {'given up: FAILURE (node_lost)' if new else f'{state} already'}")
    return DONE


def _agreed(manner: Manner, ledger: Ledger, run_id: str) -> bool:
    """Ask, where somebody can be asked and there is something to ask. Raises BadInput where not."""
    from infra_tasks.errors import BadInput  # noqa: PLC0415

    run = ledger.runs.get(run_id)
    if run is None or not run.claim_node or run.state in FINAL_STATES or ledger.nodes.reachable(run.claim_node):
        return True  # the ledger will say what speaks against it
    what = f"run {short(run_id)}, which may well go on on {run.claim_node}"
    if manner.json or not is_interactive():
        raise BadInput(f"this would give up {what}, and nobody can be asked here: say --yes if you mean it")
    return click.confirm(f"Give up {what}?", err=True)
