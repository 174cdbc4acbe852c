"""`infra cancel`: asks runs to stop."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from infra_tasks.cli.command import command as make
from infra_tasks.cli.door import answering_ledger, open_home
from infra_tasks.cli.exit_codes import DONE
from infra_tasks.cli.printing import print_json
from infra_tasks.cli.run_view import FINAL_STATES, short

if TYPE_CHECKING:
    from collections.abc import Sequence

    from infra_tasks.cli.manner import Manner
    from infra_tasks.ledger import Ledger

EXAMPLES = """
infra cancel 3fa2c1
infra cancel 3fa2c1 77be01 --kill
infra cancel --project trainer --state waiting
infra cancel --all --yes
"""


@make("cancel", EXAMPLES)
@click.argument("runs", nargs=-1, metavar="[RUN]...")
@click.option("--all", "everything", is_flag=True, help="Every run that has not ended.")
@click.option("--project", help="Every run of this project that has not ended.")
@click.option(
    "--state",
    type=click.Choice(("waiting", "all"), case_sensitive=False),
    help="With --all or --project: leave alone what has started, or not (all; the default).",
)
@click.option("--yes", is_flag=True, help="With --all or --project: do not ask.")
@click.option("--kill", is_flag=True, help="Kill at once, without the grace the command has to end by itself.")
@click.pass_obj
def command(
    manner: Manner,
    /,
    *,
    runs: tuple[str, ...],
    everything: bool,
    project: str | None,
    state: str | None,
    yes: bool,
    kill: bool,
) -> int:
    """Stop each RUN, wherever it is on its way; or all of them, or those of a project.

    A run that waits is REVOKED at once. A command that runs gets SIGTERM and, when its grace is over, SIGKILL with all
    its processes; the wish is kept, also when its node cannot be reached right now. Asking again does no harm.
    """
    many = everything or project is not None
    _check_use(runs, many=many, state=state, yes=yes)
    home = open_home()
    if many:
        from infra_tasks.cli.cancel_many import Wish, cancel_many  # noqa: PLC0415

        return cancel_many(home, Wish(project, only_waiting=state == "waiting", kill=kill), manner, yes=yes)
    from infra_tasks.cli.run_ids import known_runs  # noqa: PLC0415

    with answering_ledger(home) as ledger:
        ids = known_runs(ledger, runs)
        told = [_cancel(ledger, run_id, kill=kill) for run_id in ids]
    _tell(manner, told, kill=kill)
    return DONE


def _check_use(runs: Sequence[str], *, many: bool, state: str | None, yes: bool) -> None:
    if many and runs:
        raise click.UsageError("either runs, or --all or --project: not both")
    if not many and not runs:
        raise click.UsageError("say which runs: RUN..., --all or --project NAME")
    if not many and (state or yes):
        raise click.UsageError("--state and --yes go with --all or --project")


def _cancel(ledger: Ledger, run_id: str, *, kill: bool) -> tuple[str, str, str]:
    """Return id, state before and state now."""
    before = ledger.runs.peek(run_id)[0]
    return run_id, str(before), ledger.runs.cancel(run_id, actor="cli", kill=kill)


def _tell(manner: Manner, told: Sequence[tuple[str, str, str]], *, kill: bool) -> None:
    if not manner.json:
        for one in told:
            click.echo(_told(*one, kill=kill))
        return
    said: list[dict[str, Any]] = [
        {"id": run_id, "state": state, "cancel_asked": state not in FINAL_STATES} for run_id, _, state in told
    ]
    print_json(said[0] if len(said) == 1 else said)


def _told(run_id: str, before: str, state: str, *, kill: bool) -> str:
    if before == state and state in FINAL_STATES:
        return f"run {short(run_id)} is {state} already"
    if state == "REVOKED":
        return f"run {short(run_id)} is REVOKED; it had not started"
    return f"run {short(run_id)} {'will be killed' if kill else 'was asked to stop'}; see `infra show {short(run_id)}`"
