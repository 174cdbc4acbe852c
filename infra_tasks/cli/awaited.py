"""A run its user waits for: its output comes through, Ctrl-C reaches it, its result is had in the end."""

from __future__ import annotations

import math
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from infra_tasks.cli import spans
from infra_tasks.cli.run_view import short
from infra_tasks.cli.terminal import note
from infra_tasks.errors import FleetUnreachable, UnknownRun
from infra_tasks.follow import Follower
from infra_tasks.patience import Line, patiently

if TYPE_CHECKING:
    from infra_tasks.cli.interrupts import Interrupts
    from infra_tasks.cli.sink import Sink
    from infra_tasks.cli.terminal import ChangingLine
    from infra_tasks.ledger.records import Run
    from infra_tasks.settings import Home

LOOK_EVERY_S = 0.2
# Waiting for so long is worth a word.
WORTH_A_WORD_S = 1.0
WAITS_FOR = {
    "PENDING": "waits to be dispatched",
    "SYNCING": "its code is being brought",
    "QUEUED": "waits for a free slot",
    "RETRY": "waits for its next attempt",
}
AT_INTERRUPT = {
    1: "run {} is asked to stop; Ctrl-C again kills it",
    2: "run {} is killed; Ctrl-C again leaves it alone",
}


class LeftAlone(Exception):
    """The user pressed Ctrl-C once more than there is something to ask for."""


class AwaitedRun:
    """One run, waited for until it is final. Any method raises LeftAlone when the user does not want to wait."""

    def __init__(self, home: Home, run_id: str, interrupts: Interrupts, waiting: ChangingLine) -> None:
        self._home, self._run, self._interrupts, self._waiting = home, run_id, interrupts, waiting
        self._line = Line(home, self._say)
        self._told = 0  # interrupts the user was told about
        self._asked = 0  # interrupts that reached the fleet
        self._quiet_since = time.monotonic()
        self._warned = False
        self._look_for_warning_at = time.monotonic()

    @property
    def was_warned(self) -> bool:
        """Say whether the warning of the run's dispatch was told."""
        return self._warned

    def close(self) -> None:
        """Give the connection back."""
        self._line.close()

    def read(self, sink: Sink) -> None:
        """Bring all output of all attempts to the sink, until the run is final."""
        follower = Follower(self._home, self._line.ledger, self._run, attempt=1, onwards=True)
        for found in patiently(self._line, follower, pause=self._pause):
            self._waiting.clear()
            self._quiet_since = time.monotonic()
            sink.write(found)
            self._mind_interrupts()

    def final(self) -> Run:
        """Return the run, which is final."""
        while True:
            try:
                run = self._look()
            except FleetUnreachable:
                self._line.lost()
            else:
                self._line.found()
                if run.final:
                    return run
            self._pause(LOOK_EVERY_S)

    def _look(self) -> Run:
        self._line.ledger.answers()
        run = self._line.ledger.runs.get(self._run)
        if run is None:
            raise UnknownRun(f"run {self._run} is not in the ledger any more")
        return run

    def _say(self, text: str) -> None:
        self._waiting.clear()
        note(text)

    def _pause(self, span_s: float) -> None:
        self._mind_interrupts()
        self._mind_warning()
        self._show_waiting()
        time.sleep(span_s)

    def _show_waiting(self) -> None:
        """Say what is waited for, when it takes long; only a terminal sees it."""
        waited_s = time.monotonic() - self._quiet_since
        if waited_s < WORTH_A_WORD_S or not self._waiting.able:
            return
        with suppress(FleetUnreachable):
            self._line.ledger.answers()
            state = self._line.ledger.runs.peek(self._run)[0]
            if state in WAITS_FOR:
                self._waiting.show(f"run {short(self._run)} {WAITS_FOR[state]} · {spans.words(round(waited_s))}")
            else:
                self._waiting.clear()
                self._quiet_since = time.monotonic()

    def _mind_warning(self) -> None:
        """Tell what a dispatcher warns of while it can still be acted upon."""
        if self._warned or time.monotonic() < self._look_for_warning_at:
            return
        self._look_for_warning_at = time.monotonic() + WORTH_A_WORD_S
        with suppress(FleetUnreachable):
            self._line.ledger.answers()
            run = self._line.ledger.runs.get(self._run)
            if run and (warning := run.fields.get("warning")):
                self._warned = True
                self._say(warning)
            if run and run.state not in WAITS_FOR:
                self._look_for_warning_at = math.inf  # dispatch is over

    def _mind_interrupts(self) -> None:
        """The first Ctrl-C asks the run to stop, the second one kills it, a third one leaves it alone."""
        count = self._interrupts.count
        if count > len(AT_INTERRUPT):
            raise LeftAlone
        if count > self._told:
            self._told = count
            self._say(AT_INTERRUPT[count].format(short(self._run)))
        if count > self._asked and self._is_asked(kill=count > 1):
            self._asked = count

    def _is_asked(self, *, kill: bool) -> bool:
        """Ask the run to stop, and say whether the ledger has heard it: the wish is durable from then on."""
        with suppress(FleetUnreachable):
            self._line.ledger.answers()
            self._line.ledger.runs.cancel(self._run, actor="cli", kill=kill)
            return True
        return False
