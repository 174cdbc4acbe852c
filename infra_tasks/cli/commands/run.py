"""`infra run`: runs a command on the fleet, as if it ran here."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from infra_tasks.cli import exit_codes, outputs_view, run_view
from infra_tasks.cli.command import command as make
from infra_tasks.cli.door import answering_ledger, open_fleet, open_home
from infra_tasks.cli.interrupts import counted
from infra_tasks.cli.printing import print_json
from infra_tasks.cli.spec_options import spec_of, spec_options
from infra_tasks.cli.terminal import ChangingLine, hushed, note

if TYPE_CHECKING:
    from infra_tasks.cli.interrupts import Interrupts
    from infra_tasks.cli.manner import Manner
    from infra_tasks.settings import Home

EXAMPLES = """
infra run -- echo hello
infra run --project hello -- python3 hello.py
infra run --node mac-2 --timeout 10m --env SEED=7 -- ./train.sh
infra run --memory 2G -- python3 fit.py
infra run --secret TOKEN=api -- ./upload.sh
infra run --output 'out/*.csv' --output model -- ./train.sh
infra run --project hello --private -- make all
infra run --no-follow --quiet -- ./check.sh && echo right
infra run --detach --name nightly --max-running 1 -- make all
infra run -- sh -c 'df -h | sort'
"""


@make("run", EXAMPLES, context_settings={"allow_interspersed_args": False})
@spec_options
@click.option("--follow/--no-follow", default=None, help="Show its output here (usual), or only wait for its end.")
@click.option("--quiet", is_flag=True, help="Say nothing but the output and errors.")
@click.option("--detach", is_flag=True, help="Print the run's id and do not wait.")
@click.argument("words", nargs=-1, required=True, type=click.UNPROCESSED, metavar="-- COMMAND...")
@click.pass_obj
def command(
    manner: Manner, /, *, words: tuple[str, ...], detach: bool, follow: bool | None, quiet: bool, **said: Any
) -> int:
    """Run COMMAND on the fleet; its output comes here, its exit code is the one of `infra run`.

    124: it ran into its limit. 130: it was cancelled. 128+N: signal N killed it. Else 1: the run failed. 2: wrong use.
    3: the fleet cannot be reached. Ctrl-C asks the run to stop, a second one kills it. COMMAND is no line for a shell:
    use sh -c for pipes and the like.

    --json prints the result instead of the output, or with --detach the id.
    """
    if detach and follow:
        raise click.UsageError("--detach does not wait: leave it out, or --follow")
    home = open_home()
    with hushed(wanted=quiet), counted() as interrupts:
        run_id = _submit(home, spec_of(words, said))
        if detach:
            _tell_id(manner, run_id)
            return exit_codes.DONE
        result = _await(home, run_id, interrupts, is_shown=follow is not False and not manner.json)
    if result is None:
        return exit_codes.CANCELLED
    if manner.json:
        print_json(result)
    return exit_codes.of_result(result)


def _tell_id(manner: Manner, run_id: str) -> None:
    try:
        print_json({"id": run_id}) if manner.json else click.echo(run_id)
    except OSError:
        note(f"run {run_id} was accepted")
        raise


def _submit(home: Home, spec: dict[str, Any]) -> str:
    from infra_tasks.errors import SubmitUnknown  # noqa: PLC0415
    from infra_tasks.submit import submission  # noqa: PLC0415  pydantic

    one = submission(spec, open_fleet(home), home=home, actor="cli")
    with answering_ledger(home) as ledger:
        try:
            return ledger.runs.submit(one)
        except SubmitUnknown as error:
            raise SubmitUnknown(
                f"the fleet stopped answering while run {one.id} was handed over: it may run or not.\n"
                f"See `infra show {one.id}` when the fleet is back.",
                one.id,
            ) from error


def _await(home: Home, run_id: str, interrupts: Interrupts, *, is_shown: bool) -> dict[str, Any] | None:
    """Return the result; None when the user left the run alone."""
    from infra_tasks.cli.awaited import AwaitedRun, LeftAlone  # noqa: PLC0415
    from infra_tasks.cli.sink import Sink  # noqa: PLC0415

    if sys.stderr.isatty():
        note(f"run {run_view.short(run_id)}")
    with ChangingLine() as line:
        run = AwaitedRun(home, run_id, interrupts, line)
        try:
            run.read(Sink(silent=not is_shown))
            final = run.final()
        except LeftAlone:
            line.clear()
            note(f"left alone; see `infra show {run_view.short(run_id)}`")
            return None
        except OSError as error:
            note(f"{_why_unwritten(error)}; run {run_view.short(run_id)} goes on (`infra cancel` stops it)")
            raise
        finally:
            run.close()
    result = final.result or {}
    if (warning := final.fields.get("warning")) and not run.was_warned:
        note(warning)
    _tell_end(result, final.fields.get("cause"))
    return result


def _why_unwritten(error: OSError) -> str:
    if isinstance(error, BrokenPipeError):
        return "nobody reads the output any more"
    return f"the output cannot be written ({error.strerror or error})"


def _tell_end(result: dict[str, Any], cause: str | None) -> None:
    """Say what the exit code alone does not: a terminal is told of every failure, a script of unusual ones."""
    usual = result["state"] == "SUCCESS" or (result["reason"] == "exit_code" and not sys.stderr.isatty())
    if not usual:
        where = f" on {result['node']}" if result["node"] else ""
        note(f"run {run_view.short(result['id'])} ended{where}: {run_view.ending_words(result, cause)}")
    for name, text in outputs_view.facts(result.get("outputs")):
        if text:
            note(f"{name}: {text}")
