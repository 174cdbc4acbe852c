"""`infra submit`: hands in specs from files, one or many."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any

import click

from infra_tasks.cli.command import command as make
from infra_tasks.cli.door import answering_ledger, open_fleet, open_home
from infra_tasks.cli.exit_codes import DONE
from infra_tasks.cli.interrupts import counted
from infra_tasks.cli.params import key_prefix
from infra_tasks.cli.printing import print_json, print_table
from infra_tasks.cli.terminal import note

if TYPE_CHECKING:
    from collections.abc import Sequence

    from infra_tasks.cli.manner import Manner
    from infra_tasks.ledger.submission import Submission
    from infra_tasks.model.spec_text import Given
    from infra_tasks.settings import Home

EXAMPLES = """
infra submit nightly.yaml
infra submit sweep.json --idempotency-key sweep-7
infra submit --dry-run sweep.yaml
infra submit --wait sweep.yaml
./make_specs.py | infra submit --format json -
"""


@make("submit", EXAMPLES)
@click.argument("files", nargs=-1, required=True, metavar="FILE|-...")
@click.option("--format", "form", type=click.Choice(["json", "yaml"]), help="Of the files (default: by their names).")
@click.option("--dry-run", is_flag=True, help="Only check the specs, and tell what would be submitted.")
@click.option(
    "--idempotency-key",
    "prefix",
    type=key_prefix,
    metavar="PREFIX",
    help="Give spec N the key PREFIX-N: doing it again is safe.",
)
@click.option("--wait", "waits", is_flag=True, help="Wait until all of them have ended, as `infra wait` does.")
@click.option("--skip", type=click.IntRange(0), default=0, metavar="N", help="Leave out the first N specs.")
@click.pass_obj
def command(
    manner: Manner,
    /,
    files: tuple[str, ...],
    *,
    form: Any,
    dry_run: bool,
    prefix: str | None,
    waits: bool,
    skip: int,
) -> int:
    """Hand in the specs in FILE (- is stdin), JSON or YAML, and print the ids of their runs.

    Many specs are a list, {"runs": [...]}, several YAML documents, or JSON lines. All are checked before the first one
    is accepted; every mistake is told with its line. The ids are printed as the runs are accepted.

    --json prints one line for each: {"spec": N, "id": ...}, and with --wait one for each end, with the keys of a
    result. Exit code with --wait: 0 when all are SUCCESS, 1 when one failed, 130 when one was cancelled.
    """
    from infra_tasks.cli import spec_files  # noqa: PLC0415  pydantic

    home = open_home()
    specs = spec_files.read(files, form)[skip:]
    many = spec_files.checked(specs, open_fleet(home), home, prefix)
    if dry_run:
        _tell_plan(manner, specs, many)
        return DONE
    ids, code = _hand_in(manner, home, many, again_is_safe=prefix is not None, skipped=skip)
    if not waits or code != DONE:
        return code
    from infra_tasks.cli.commands.wait import until_ended  # noqa: PLC0415

    return until_ended(home, list(dict.fromkeys(ids)), manner)


def _hand_in(
    manner: Manner, home: Home, many: Sequence[Submission], *, again_is_safe: bool, skipped: int
) -> tuple[list[str], int]:
    """Return the ids of the runs that were accepted, and the exit code so far."""
    from infra_tasks.cli.handing_in import HandingIn  # noqa: PLC0415

    tell = _tell_json if manner.json else _tell_text
    with answering_ledger(home) as ledger, counted() as interrupts:
        handing_in = HandingIn(ledger, tell, interrupts, again_is_safe, skipped)
        ids, code = handing_in.of(many)
    if handing_in.untold:
        note(f"{len(ids)} of {len(many)} runs were accepted, and their ids could not be printed: see `infra runs`")
        raise handing_in.untold
    return ids, code


def _tell_text(_first: int, ids: Sequence[str]) -> None:
    click.echo("\n".join(ids))


def _tell_json(first: int, ids: Sequence[str]) -> None:
    for number, run_id in enumerate(ids, start=first):
        print_json({"spec": number, "id": run_id}, lines=True)


def _tell_plan(manner: Manner, specs: Sequence[Given], many: Sequence[Submission]) -> None:
    if manner.json:
        for each, one in zip(specs, many, strict=True):
            print_json(
                {"spec": each.number, "submits": one.spec.model_dump(mode="json", exclude_defaults=True)}, lines=True
            )
        return
    rows = [_row(each.number, one) for each, one in zip(specs, many, strict=True)]
    if rows:
        print_table(("SPEC", "NAME", "PROJECT", "WHERE", "COMMAND"), rows, flexible=4)
    count = "1 spec is" if len(rows) == 1 else f"{len(rows)} specs are"
    click.echo(f"{count} right; nothing was submitted")


def _row(number: int, one: Submission) -> tuple[str, ...]:
    from infra_tasks.cli.path_text import path_text  # noqa: PLC0415

    spec = one.spec
    where = spec.node or (f"any with {', '.join(sorted(spec.labels))}" if spec.labels else "any")
    text = spec.command if isinstance(spec.command, str) else shlex.join(spec.command)
    return (str(number), spec.name or "", spec.project or "", where, path_text(" ".join(text.split())))
