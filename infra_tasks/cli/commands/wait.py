"""`infra wait`: until runs have ended."""

from __future__ import annotations

import time
from math import inf
from typing import TYPE_CHECKING

import click

from infra_tasks.cli import params, spans
from infra_tasks.cli.command import command as make
from infra_tasks.cli.door import answering_ledger, open_home
from infra_tasks.cli.exit_codes import CANCELLED, TIMEOUT, of_states
from infra_tasks.cli.printing import print_json
from infra_tasks.cli.terminal import ChangingLine, colour, note, styled

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from infra_tasks.cli.ends import Ends
    from infra_tasks.cli.manner import Manner
    from infra_tasks.ledger.records import Run
    from infra_tasks.settings import Home

SHOW_EVERY_S = 0.5
# Waiting for so long is worth a word.
WORTH_A_WORD_S = 1.0
NAMED = 5
EXAMPLES = """
infra wait 3fa2c1 77be01
infra wait 3fa2c1 --timeout 10m
infra wait 3fa2c1 77be01 --any
"""


@make("wait", EXAMPLES)
@click.argument("runs", nargs=-1, required=True, metavar="RUN...")
@click.option("--timeout", type=params.span, metavar="SPAN", help="Wait no longer than this.")
@click.option("--any", "one_is_enough", is_flag=True, help="End as soon as one of them has ended.")
@click.pass_obj
def command(manner: Manner, /, *, runs: tuple[str, ...], timeout: float | None, one_is_enough: bool) -> int:
    """Wait until every RUN has ended, however long the fleet is away meanwhile; a line tells each end.

    A run that has left the history has ended: its end is told from the archive of this node.

    Exit code: 0 when all are SUCCESS, 1 when one failed, 130 when one was cancelled, 124 when the time was over. Ctrl-C
    ends the wait and no run. --json prints a line for each end.
    """
    from infra_tasks.cli.named_run import named_runs  # noqa: PLC0415

    home = open_home()
    with answering_ledger(home) as ledger:
        found = named_runs(home, ledger, runs)
    past = {one.run.id: one.run for one in found if one.archived}
    if past:
        note(f"{_named(list(past))} left the history before; the archive of this node tells how")
    ids = [one.run.id for one in found]
    return until_ended(home, ids, manner, timeout_s=timeout, one_is_enough=one_is_enough, past=past)


def until_ended(
    home: Home,
    ids: Sequence[str],
    manner: Manner,
    *,
    timeout_s: float | None = None,
    one_is_enough: bool = False,
    past: Mapping[str, Run] | None = None,
) -> int:
    """Wait for runs and tell each end; return the exit code that tells how they ended.

    `past`: those that are known to have left the history. The others may leave it meanwhile.
    """
    from infra_tasks.cli.ends import Ends  # noqa: PLC0415

    ends, states = Ends(home, ids), {}
    ends.start()
    with ChangingLine() as line:
        progress = _Progress(ends, line, len(ids))
        try:
            for run in ends.come(timeout_s or inf, SHOW_EVERY_S, progress.show):
                line.clear()
                states[run.id] = _tell(run if run.fields else _past(home, run, past or {}), manner)
                if one_is_enough:
                    break
        except KeyboardInterrupt:
            line.clear()
            note(f"interrupted; {_runs(ends.count_left)} not waited for any more, which {_ends(ends.count_left)}")
            return CANCELLED
    if ends.count_left and not (one_is_enough and states):
        note(f"not ended within {spans.words(timeout_s or 0)}: {_named([one for one in ids if one not in states])}")
        return TIMEOUT
    return of_states(states.values())


class _Progress:
    """The line that says what is still waited for."""

    def __init__(self, ends: Ends, line: ChangingLine, count: int) -> None:
        from infra_tasks.cli.fleet_words import FleetWords  # noqa: PLC0415

        self._ends, self._line, self._count = ends, line, count
        self._began_at = time.monotonic()
        self._words = FleetWords(self._say)

    def show(self) -> None:
        """Draw it anew."""
        self._words.hear(away=self._ends.away)
        waited_s = time.monotonic() - self._began_at
        if waited_s < WORTH_A_WORD_S or not self._ends.count_left:
            return
        states = ", ".join(f"{count:,} {state}" for state, count in sorted(self._ends.left.items()))
        of = f" of {self._count:,}" if self._count > 1 else ""
        self._line.show(f"{_runs(self._ends.count_left)}{of} to come: {states or '...'} · {spans.words(waited_s)}")

    def _say(self, text: str) -> None:
        self._line.clear()
        note(text)


def _past(home: Home, gone: Run, past: Mapping[str, Run]) -> Run:
    """Return a run that is not in the ledger as the archive has it, if it does."""
    from infra_tasks.cli.named_run import past_run  # noqa: PLC0415

    return past.get(gone.id) or past_run(home, gone.id) or gone


def _tell(run: Run, manner: Manner) -> str:
    """Tell the end of one; return its state."""
    from infra_tasks.cli import run_view  # noqa: PLC0415
    from infra_tasks.cli.ends import GONE  # noqa: PLC0415

    state = run.state or GONE
    if manner.json:
        print_json(run_view.as_json(run, {}) if run.fields else {"id": run.id, "state": None}, lines=True)
    else:
        shade = {"SUCCESS": "green", "REVOKED": "yellow"}.get(state, "red")
        words = run_view.end_in_words(run) if run.fields else "neither in the ledger nor in the archive of this node"
        click.echo(f"{run_view.short(run.id)}  {styled(state, fg=shade)}  {words}", color=colour())
    return state


def _named(ids: Sequence[str]) -> str:
    from infra_tasks.cli.run_view import short  # noqa: PLC0415

    more = f" and {len(ids) - NAMED:,} more" if len(ids) > NAMED else ""
    return ", ".join(short(one) for one in ids[:NAMED]) + more


def _ends(count: int) -> str:
    return "ends by itself" if count == 1 else "end by themselves"


def _runs(count: int) -> str:
    return "1 run" if count == 1 else f"{count:,} runs"
