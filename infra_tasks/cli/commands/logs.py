"""`infra logs`: what a run has written."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

import click

from infra_tasks.cli.command import command as make
from infra_tasks.cli.door import answering_ledger, open_home
from infra_tasks.cli.exit_codes import DONE, UNREACHABLE
from infra_tasks.cli.printing import print_json

if TYPE_CHECKING:
    from infra_tasks.cli.manner import Manner
    from infra_tasks.follow import Gap, Piece

EXAMPLES = """
infra logs 3fa2c1
infra logs 3fa2c1 -f
infra logs 3fa2c1 --stderr --attempt 1
"""


@make("logs", EXAMPLES)
@click.argument("run")
@click.option("-f", "--follow", "following", is_flag=True, help="Go on until the run is final.")
@click.option("--stderr", is_flag=True, help="Only what was written to stderr (printed on stdout).")
@click.option("--attempt", type=click.IntRange(1), help="Only this attempt; else the newest.")
@click.pass_obj
def command(manner: Manner, /, run: str, *, following: bool, stderr: bool, attempt: int | None) -> int:
    """Print what RUN has written: its stdout on stdout, its stderr on stderr.

    --json prints a line for each piece: stream, attempt, offset, and text (bytes that are no UTF-8 become U+FFFD).
    """
    from infra_tasks.cli.patience import Line, patiently  # noqa: PLC0415
    from infra_tasks.cli.sink import Sink  # noqa: PLC0415
    from infra_tasks.follow import Follower, Gap  # noqa: PLC0415

    home = open_home()
    with answering_ledger(home) as ledger:
        run_id = ledger.runs.known(run)
    with closing(Line(home)) as line:
        follower = Follower(
            home,
            line.ledger,
            run_id,
            attempt=attempt,
            streams=("stderr",) if stderr else ("stdout", "stderr"),
            until_final=following,
        )
        sink, complete = Sink({"stderr": 1} if stderr else {}), True
        for found in patiently(line, follower, keep_waiting=following):
            complete = complete and not (isinstance(found, Gap) and found.end is None)
            _print_json_line(found) if manner.json else sink.write(found)
    return DONE if complete else UNREACHABLE


def _print_json_line(found: Piece | Gap) -> None:
    said = {"stream": found.stream, "attempt": found.attempt, "offset": found.offset}
    data = getattr(found, "data", None)
    rest = {"end": getattr(found, "end", None)} if data is None else {"text": data.decode("utf-8", "replace")}
    print_json({**said, **rest}, lines=True)
