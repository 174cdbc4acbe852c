"""`infra run`: runs a command on the fleet, as if it ran here."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from infra_tasks.cli import exit_codes, outputs_view, run_view
from infra_tasks.cli.command import command as make
from infra_tasks.cli.door import answering_ledger, open_fleet, open_home
from infra_tasks.cli.interrupts import counted
from infra_tasks.cli.params import span, variable
from infra_tasks.cli.printing import print_json
from infra_tasks.cli.terminal import ChangingLine, note

if TYPE_CHECKING:
    from infra_tasks.cli.interrupts import Interrupts
    from infra_tasks.cli.manner import Manner
    from infra_tasks.settings import Home

EXAMPLES = """
infra run -- echo hello
infra run --project hello -- python3 hello.py
infra run --node mac-2 --timeout 10m --env SEED=7 -- ./train.sh
infra run --output 'out/*.csv' --output model -- ./train.sh
infra run --detach --name nightly -- make all
infra run -- sh -c 'df -h | sort'
"""


@make("run", EXAMPLES, context_settings={"allow_interspersed_args": False})
@click.option("--node", help="Only this node; else any that has the labels.")
@click.option("--project", help="Run in the code of this project.")
@click.option("--label", "labels", multiple=True, help="Only nodes that have it.")
@click.option(
    "--timeout", "timeout_s", type=span, metavar="SPAN", help="Hard limit: 90, 10m, 1h30m (default: the fleet's)."
)
@click.option("--env", multiple=True, type=variable, metavar="K=V", help="For its environment; K alone hands yours on.")
@click.option("--retries", type=click.IntRange(0), help="Try again so often when it fails.")
@click.option(
    "--output", "outputs", multiple=True, metavar="PATTERN", help="Bring these files of its scratch folder back here."
)
@click.option("--name", help="What people call it.")
@click.option("--detach", is_flag=True, help="Print the run's id and do not wait.")
@click.argument("words", nargs=-1, required=True, type=click.UNPROCESSED, metavar="-- COMMAND...")
@click.pass_obj
def command(manner: Manner, /, *, words: tuple[str, ...], detach: bool, **said: Any) -> int:
    """Run COMMAND on the fleet; its output comes here, its exit code is the one of `infra run`.

    124: it ran into its limit. 130: it was cancelled. 128+N: signal N killed it. Else 1: the run failed. 2: wrong use.
    3: the fleet cannot be reached. Ctrl-C asks the run to stop, a second one kills it. COMMAND is no line for a shell:
    use sh -c for pipes and the like.

    --json prints the result instead of the output, or with --detach the id.
    """
    home = open_home()
    with counted() as interrupts:
        run_id = _submit(home, _spec(words, said))
        if detach:
            print_json({"id": run_id}) if manner.json else click.echo(run_id)
            return exit_codes.DONE
        result = _await(home, run_id, interrupts, manner)
    if result is None:
        return exit_codes.CANCELLED
    if manner.json:
        print_json(result)
    return exit_codes.of_result(result)


def _spec(words: tuple[str, ...], said: dict[str, Any]) -> dict[str, Any]:
    """Return the spec of a command line: only what was said."""
    spec = {name: value for name, value in said.items() if value not in (None, ())}
    if said["env"]:
        spec["env"] = dict(said["env"])
    for name in ("labels", "outputs"):
        if said[name]:
            spec[name] = list(said[name])
    return {"command": list(words), **spec}


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


def _await(home: Home, run_id: str, interrupts: Interrupts, manner: Manner) -> dict[str, Any] | None:
    """Return the result; None when the user left the run alone."""
    from infra_tasks.cli.awaited import AwaitedRun, LeftAlone  # noqa: PLC0415
    from infra_tasks.cli.sink import Sink  # noqa: PLC0415

    if sys.stderr.isatty():
        note(f"run {run_view.short(run_id)}")
    with ChangingLine() as line:
        run = AwaitedRun(home, run_id, interrupts, line)
        try:
            run.read(Sink(silent=manner.json))
            final = run.final()
        except LeftAlone:
            line.clear()
            note(f"left alone; see `infra show {run_view.short(run_id)}`")
            return None
        except BrokenPipeError:
            note(f"nobody reads the output any more; run {run_view.short(run_id)} goes on (`infra cancel` stops it)")
            raise
        finally:
            run.close()
    result = final.result or {}
    if warning := final.fields.get("warning"):
        note(warning)
    _tell_end(result, final.fields.get("cause"))
    return result


def _tell_end(result: dict[str, Any], cause: str | None) -> None:
    """Say what the exit code alone does not: a terminal is told of every failure, a script of unusual ones."""
    usual = result["state"] == "SUCCESS" or (result["reason"] == "exit_code" and not sys.stderr.isatty())
    if not usual:
        where = f" on {result['node']}" if result["node"] else ""
        note(f"run {run_view.short(result['id'])} ended{where}: {run_view.ending_words(result, cause)}")
    for name, text in outputs_view.facts(result.get("outputs")):
        if text:
            note(f"{name}: {text}")
