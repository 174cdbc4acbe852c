"""`infra schedule add`: runs a command again and again, from the ledger."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from infra_tasks.cli.command import command as make
from infra_tasks.cli.door import answering_ledger, open_fleet, open_home
from infra_tasks.cli.params import span
from infra_tasks.cli.printing import print_json
from infra_tasks.cli.spec_options import spec_of, spec_options
from infra_tasks.cli.who import who
from infra_tasks.errors import BadInput

if TYPE_CHECKING:
    from infra_tasks.cli.manner import Manner

WHEN = ("cron", "every_s", "timezone", "missed", "overlap")
EXAMPLES = """
infra schedule add nightly --cron '0 3 * * *' --timezone Europe/Berlin --project trainer -- ./train.sh
infra schedule add beacon --every 15m -- ./check.sh
infra schedule add report --cron '30 7 * * mon-fri' --missed skip --overlap queue --spec report.yaml
"""


@make("add", EXAMPLES)
@click.argument("schedule", metavar="NAME")
@click.option("--cron", metavar="LINE", help="When: minute, hour, day of month, month, day of week; or @daily.")
@click.option("--every", "every_s", type=span, metavar="SPAN", help="When: each 90s, 15m, 1d, counted from 1970 on.")
@click.option("--timezone", metavar="ZONE", help="Whose wall clock --cron means (default: UTC).")
@click.option(
    "--missed",
    type=click.Choice(("skip", "one", "all")),
    help="Of slots nobody could fire in time: none, the last one (the default), or all.",
)
@click.option(
    "--overlap",
    type=click.Choice(("skip", "queue", "cancel", "allow")),
    help="While the run before goes on: leave the slot out (the default), wait, cancel that run, or run both.",
)
@click.option("--spec", "file", metavar="FILE|-", help="What to run, as JSON or YAML, instead of COMMAND.")
@spec_options
@click.argument("words", nargs=-1, type=click.UNPROCESSED, metavar="[-- COMMAND...]")
@click.pass_obj
def command(
    manner: Manner, /, *, schedule: str, words: tuple[str, ...], file: str | None, every_s: float | None, **said: Any
) -> None:
    """Run COMMAND whenever the schedule NAME is due. Kept in the ledger: it holds for the whole fleet, and lasts.

    A time of day that clocks leave out in spring is made up for right after the gap; one that comes twice in autumn
    counts once.
    """
    from infra_tasks.model.schedule import schedule_named  # noqa: PLC0415  pydantic
    from infra_tasks.schedules.change import add  # noqa: PLC0415

    when = {**{name: said.pop(name) for name in WHEN if name in said}, "every_s": _whole(every_s)}
    spec = _spec(words, file, said)
    made = schedule_named(schedule, {**{key: value for key, value in when.items() if value is not None}, "spec": spec})
    home = open_home()
    fleet = open_fleet(home)
    with answering_ledger(home) as ledger:
        add(ledger, fleet, home, schedule, made, who())
        coming = made.timetable.following(ledger.nodes.now())
    if manner.json:
        print_json({"name": schedule, "next_at": coming[0] if coming else None, **made.as_json()})
    else:
        click.echo(f"{schedule} is added, {made.timetable.next_words(coming)}")


def _whole(every_s: float | None) -> int | None:
    if every_s is not None and every_s != int(every_s):
        raise click.UsageError(f"--every: found {every_s:g} seconds; allowed: whole seconds")
    return int(every_s) if every_s is not None else None


def _spec(words: tuple[str, ...], file: str | None, said: dict[str, Any]) -> Any:
    if file is None:
        if not words:
            raise click.UsageError("say what to run: -- COMMAND..., or --spec FILE")
        return spec_of(words, said)
    asked = [name for name, value in said.items() if value not in (None, ())]
    if words or asked:
        found = "COMMAND" if words else f"an option about it ({asked[0]})"
        raise click.UsageError(f"--spec says all of what to run; found {found}, too")
    return _spec_in(file)


def _spec_in(file: str) -> Any:
    from infra_tasks.cli.spec_files import read  # noqa: PLC0415  pydantic

    found = read([file], None)
    if len(found) > 1:
        raise BadInput(f"{file} holds {len(found)} specs, and a schedule has one")
    return found[0].value
