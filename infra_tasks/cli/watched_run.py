"""One run that is watched to its end: a line that changes, its moves told as they come."""

from __future__ import annotations

import threading
import time
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import click

from infra_tasks.cli import run_view, spans
from infra_tasks.cli.fleet_words import FleetWords
from infra_tasks.cli.lookout import Lookout
from infra_tasks.cli.path_text import path_text
from infra_tasks.cli.printing import print_json
from infra_tasks.cli.reading import Reading
from infra_tasks.cli.terminal import ChangingLine, colour, note, styled
from infra_tasks.errors import UnknownRun
from infra_tasks.model.run import State

if TYPE_CHECKING:
    from infra_tasks.ledger import Ledger
    from infra_tasks.ledger.records import Event, Run
    from infra_tasks.settings import Home

LOOK_EVERY_S = 0.5
DRAW_EVERY_S = 0.25
FIELDS = ("state", "attempt", "node", "claim_node", "submitted_at", "claimed_at", "cancel")
BETWEEN = " · "


class Seen(NamedTuple):
    """The run as it was at a look. `moves`: its whole story, read anew when it changed; `whole`: once it is final."""

    run: Run | None
    now: float
    moves: list[Event]
    whole: Run | None


class WatchedRun:
    """Watches until the run is final."""

    def __init__(self, home: Home, run_id: str, *, json: bool) -> None:
        self._run, self._json = run_id, json
        self._news = threading.Event()
        self._lookout = Lookout(home, lambda ledger: partial(self._look, ledger), self._news.set, every_s=LOOK_EVERY_S)
        self._reading = Reading(home, run_id, self._news.set, tail=1)
        self._known: tuple[str, int] | None = None
        self._moves: list[Event] = []
        self._told_at = 0.0  # the moment of the move that was told last
        self._line = ChangingLine()
        self._words = FleetWords(self._say)

    def watch(self) -> Run:
        """Return the run, which is final. Raises UnknownRun when it is not in the ledger any more."""
        self._lookout.start()
        if self._line.able:
            self._reading.start()
        with self._line:
            while True:
                self._news.wait(DRAW_EVERY_S)
                self._news.clear()
                self._words.hear(away=self._lookout.silent_s(time.monotonic()) > 0)
                if self._lookout.latest:
                    ended = self._show(self._lookout.latest.seen, time.monotonic() - self._lookout.latest.at)
                    if ended:
                        return ended

    def _look(self, ledger: Ledger) -> Seen:
        found = ledger.runs.some([self._run], FIELDS)
        run = found[0] if found else None
        if run and self._known != (run.state, run.attempt):
            self._moves = ledger.runs.events(self._run)
            self._known = (run.state, run.attempt)
        whole = ledger.runs.get(self._run) if run and run.final else None
        return Seen(run, ledger.nodes.now(), self._moves, whole)

    def _show(self, seen: Seen, since_s: float) -> Run | None:
        if seen.run is None:
            raise UnknownRun(f"run {self._run} is not in the ledger any more")
        self._tell_moves(seen)
        if seen.whole:
            self._tell_end(seen.whole)
            return seen.whole
        parts = line_parts(seen.run, seen.now + since_s, self._reading.last())
        self._line.show(BETWEEN.join(parts))
        return None

    def _tell_moves(self, seen: Seen) -> None:
        """Tell what it went through since; at first, only how it is."""
        if not self._told_at and seen.run:
            self._told_at = seen.moves[-1].at if seen.moves else seen.now
            if not self._json:
                self._print(f"{run_view.short(self._run)} is {seen.run.state}")
        news = [event for event in seen.moves if event.at > self._told_at]
        for event in news:
            self._told_at = event.at
            self._tell_move(event)

    def _tell_move(self, event: Event) -> None:
        if self._json:
            print_json(event.as_dict(), lines=True)
            return
        moved = event.to_state if event.from_state == event.to_state else f"{event.from_state} -> {event.to_state}"
        at = time.strftime("%H:%M:%S", time.localtime(event.at))
        self._print(f"{at}  {moved}  {path_text(event.cause)}")

    def _tell_end(self, run: Run) -> None:
        if self._json:
            print_json(run_view.as_json(run, {}), lines=True)
            return
        shade = {State.SUCCESS.value: "green", State.REVOKED.value: "yellow"}.get(run.state, "red")
        self._print(f"{run_view.short(run.id)}  {styled(run.state, fg=shade)}  {run_view.end_in_words(run)}")

    def _print(self, text: str) -> None:
        self._line.clear()
        click.echo(text, color=colour())

    def _say(self, text: str) -> None:
        self._line.clear()
        note(text)


def line_parts(run: Run, now: float, last_line: str) -> list[str]:
    """Return what the changing line says: state, for how long, where, and the last line of output. Pure."""
    began_at = run.at("claimed_at") if run.state == State.STARTED else run.at("submitted_at")
    where = run.claim_node if run.state == State.STARTED else run.node
    parts = [run.state, spans.words(max(0.0, now - began_at)) if began_at else "", where]
    parts += ["asked to stop" if run.cancel else "", last_line.strip() if run.state == State.STARTED else ""]
    return [part for part in parts if part]
