"""`infra cancel --all`, `--project`: counts, asks, then cancels piece by piece; never more than a piece in memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from infra_tasks.cli.door import answering_ledger, open_fleet
from infra_tasks.cli.exit_codes import CANCELLED, DONE, FAILED
from infra_tasks.cli.names import check_name
from infra_tasks.cli.printing import print_json
from infra_tasks.cli.progress_line import ProgressLine
from infra_tasks.cli.terminal import agreed, is_interactive, note
from infra_tasks.errors import BadInput, FleetUnreachable
from infra_tasks.model.run import State

if TYPE_CHECKING:
    from collections.abc import Iterator

    from infra_tasks.cli.manner import Manner
    from infra_tasks.ledger import Ledger
    from infra_tasks.ledger.cancelling import Asked
    from infra_tasks.ledger.records import Run
    from infra_tasks.settings import Home


@dataclass(frozen=True)
class Wish:
    """Which live runs are to stop: of a project or (None) all, and whether those that have started are left alone."""

    project: str | None
    only_waiting: bool
    kill: bool

    def fits(self, run: Run) -> bool:
        """Say whether it means a run that is live."""
        started = run.state == State.STARTED
        return self.project in {None, run.project} and not (self.only_waiting and started)


@dataclass
class Tally:
    """How many runs there were, and what became of them."""

    waiting: int = 0
    running: int = 0
    revoked: int = 0
    asked: int = 0

    @property
    def found(self) -> int:
        """How many are to stop."""
        return self.waiting + self.running

    def count(self, run: Run) -> None:
        """Count one that is to stop."""
        if run.state == State.STARTED:
            self.running += 1
        else:
            self.waiting += 1

    def note(self, one: Asked) -> None:
        """Count what became of one; one that was met twice counts once."""
        if one.new and one.state == State.REVOKED:
            self.revoked += 1
        elif one.new:
            self.asked += 1


def cancel_many(home: Home, wish: Wish, manner: Manner, *, yes: bool) -> int:
    """Do it, if the user agrees; return the exit code."""
    with answering_ledger(home) as ledger:
        until, tally = ledger.nodes.now(), Tally()
        with ProgressLine() as progress:
            for run in _live(ledger, wish, until):
                tally.count(run)
                progress.show(f"{tally.found:,} runs found")
        if not tally.found:
            _check_project(home, wish)
            _tell(manner, tally, wish)
            return DONE
        if not yes and not _agreed(manner, tally, wish):
            note("nothing was cancelled")
            return FAILED
        try:
            _cancel(ledger, wish, until, tally)
        except KeyboardInterrupt:
            note(f"interrupted: {_words(tally, wish)}; the others go on")
            return CANCELLED
        except FleetUnreachable as error:
            raise FleetUnreachable(f"{error}\nSo far: {_words(tally, wish)}. Asking again is safe.") from error
    _tell(manner, tally, wish)
    return DONE


def _live(ledger: Ledger, wish: Wish, until: float) -> Iterator[Run]:
    for piece in ledger.cancelling.live(until):
        yield from filter(wish.fits, piece)


def _cancel(ledger: Ledger, wish: Wish, until: float, tally: Tally) -> None:
    """First what waits: a slot that becomes free must not be taken by a run that is to be stopped as well."""
    with ProgressLine() as progress:
        for only_waiting in (True,) if wish.only_waiting else (True, False):
            for piece in ledger.cancelling.live(until):
                wanted = [run for run in piece if wish.fits(run) and not (only_waiting and run.state == State.STARTED)]
                for told in ledger.cancelling.cancel(wanted, actor="cli", kill=wish.kill, only_waiting=only_waiting):
                    for one in told:
                        tally.note(one)
                    progress.show(f"{tally.revoked + tally.asked:,} of {tally.found:,} runs cancelled")


def _agreed(manner: Manner, tally: Tally, wish: Wish) -> bool:
    """Ask, where somebody can be asked. Raises BadInput where not."""
    what = f"{_runs(tally.found)}{f' of project {wish.project}' if wish.project else ''}"
    running = f", {tally.running:,} of them running" if tally.running else ""
    if manner.json or not is_interactive():
        raise BadInput(f"this would cancel {what}{running}, and nobody can be asked here: say --yes if you mean it")
    return agreed(f"Cancel {what}{running}?")


def _check_project(home: Home, wish: Wish) -> None:
    check_name("project", wish.project, sorted(open_fleet(home).projects))


def _tell(manner: Manner, tally: Tally, wish: Wish) -> None:
    if manner.json:
        print_json({"found": tally.found, "revoked": tally.revoked, "asked_to_stop": tally.asked})
    else:
        click.echo(
            _words(tally, wish) if tally.found else f"no run {'waits' if wish.only_waiting else 'is live'} there"
        )


def _words(tally: Tally, wish: Wish) -> str:
    asked = f"{_runs(tally.asked)} {'will be killed' if wish.kill else 'asked to stop'}"
    said = [f"{_runs(tally.revoked)} REVOKED"] if tally.revoked or not tally.asked else []
    already = tally.found - tally.revoked - tally.asked
    said += [asked] if tally.asked else []
    said += [f"{already:,} ended, started or asked before"] if already > 0 else []
    return ", ".join(said)


def _runs(count: int) -> str:
    return "1 run" if count == 1 else f"{count:,} runs"
