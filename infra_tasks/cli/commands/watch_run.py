"""`infra watch-run`: one run to its end, on one line."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from infra_tasks.cli.command import command as make
from infra_tasks.cli.door import answering_ledger, open_home
from infra_tasks.cli.terminal import note

if TYPE_CHECKING:
    from infra_tasks.cli.manner import Manner
    from infra_tasks.ledger.records import Run

BELL = "\a"
EXAMPLES = """
infra watch-run 3fa2c1
infra watch-run 3fa2c1 --bell --notify
"""


@make("watch-run", EXAMPLES)
@click.argument("run")
@click.option("--bell", is_flag=True, help="Ring the terminal's bell at the end.")
@click.option("--notify", is_flag=True, help="Show a notice on the desktop at the end (macOS; Linux with notify-send).")
@click.pass_obj
def command(manner: Manner, /, run: str, *, bell: bool, notify: bool) -> int:
    """Watch RUN to its end: a line shows its state, for how long, where, and what it wrote last; its moves are told.

    Exit code: 0 when it is SUCCESS, 1 when it failed, 130 when it was cancelled. Ctrl-C ends the watching and not the
    run. --json prints a line for each move, and the run at the end.
    """
    from infra_tasks.cli import notice  # noqa: PLC0415
    from infra_tasks.cli.exit_codes import CANCELLED, of_states  # noqa: PLC0415
    from infra_tasks.cli.watched_run import WatchedRun  # noqa: PLC0415

    without = notice.missing() if notify else ""
    if without:
        note(f"no notice will be shown at the end: {without}")
    home = open_home()
    with answering_ledger(home) as ledger:
        run_id = ledger.runs.known(run)
    try:
        ended = WatchedRun(home, run_id, json=manner.json).watch()
    except KeyboardInterrupt:
        note("interrupted; the run goes on")
        return CANCELLED
    if bell:
        _ring()
    if notify and not without:
        _notify(ended)
    return of_states([ended.state])


def _ring() -> None:
    if sys.stderr.isatty():
        click.echo(BELL, err=True, nl=False)
    else:
        note("no bell: stderr is no terminal")


def _notify(run: Run) -> None:
    from infra_tasks.cli import notice, run_view  # noqa: PLC0415

    failed = notice.show(f"infra: {run.state}", f"run {run_view.short(run.id)}: {run_view.end_in_words(run)}")
    if failed:
        note(f"no notice was shown: {failed}")
