"""Reads the output of a run along in a thread that nobody ever waits for; who draws takes the lines there are."""

from __future__ import annotations

import threading
from contextlib import closing
from typing import TYPE_CHECKING

from infra_tasks.cli.lines import Lines, OutputLine
from infra_tasks.cli.sink import gap_words
from infra_tasks.errors import InfraError
from infra_tasks.follow import Follower, Gap
from infra_tasks.patience import Line, patiently

if TYPE_CHECKING:
    from collections.abc import Callable

    from infra_tasks.follow import Piece
    from infra_tasks.settings import Home

KEPT_LINES = 2000


class _LeftAlone(Exception):
    """Nobody wants to see it any more."""


class Reading:
    """The output of one run from its last `tail` lines on; `over`: there will be no more. `wake` tells of news."""

    def __init__(self, home: Home, run_id: str, wake: Callable[[], object], *, tail: int = KEPT_LINES) -> None:
        self.over = False
        self._home, self._run, self._wake, self._tail = home, run_id, wake, tail
        self._lines, self._lock = Lines(KEPT_LINES), threading.Lock()
        self._left = threading.Event()
        self._attempt = 0

    def start(self) -> None:
        """Begin. The thread ends soon after `leave`, or with the process."""
        threading.Thread(target=self._run_thread, name="reading", daemon=True).start()

    def leave(self) -> None:
        """Want no more of it."""
        self._left.set()

    def lines(self) -> list[OutputLine]:
        """Return what was read, oldest first."""
        with self._lock:
            return self._lines.all()

    def last(self) -> str:
        """Return the newest line."""
        with self._lock:
            return self._lines.last()

    def _run_thread(self) -> None:
        try:
            self._read()
        except _LeftAlone:
            return
        except (InfraError, OSError) as error:
            self._say(str(error))
        self.over = True
        self._wake()

    def _read(self) -> None:
        with closing(Line(self._home, self._say)) as line:
            follower = Follower(self._home, line.ledger, self._run, tail=self._tail)
            for found in patiently(line, follower, pause=self._pause):
                self._take(found)

    def _take(self, found: Piece | Gap) -> None:
        if self._left.is_set():
            raise _LeftAlone
        if self._attempt and found.attempt != self._attempt:
            self._say(f"attempt {found.attempt}")
        self._attempt = found.attempt
        if isinstance(found, Gap):
            self._say(gap_words(found))
            return
        with self._lock:
            self._lines.add(found.stream, found.data)
        self._wake()

    def _say(self, text: str) -> None:
        with self._lock:
            self._lines.say(f"-- {text} --")
        self._wake()

    def _pause(self, span_s: float) -> None:
        if self._left.wait(span_s):
            raise _LeftAlone
