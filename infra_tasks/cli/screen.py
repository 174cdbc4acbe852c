"""The whole terminal for a while: a buffer of its own, keys as they are typed, given back however the command ends."""

from __future__ import annotations

import codecs
import os
import select
import signal
import sys
import termios
import tty
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Self

import click

from infra_tasks.cli.keys import keys
from infra_tasks.cli.terminal import cut

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import FrameType, TracebackType

# The other buffer, no cursor, no breaking of lines that are too long; and all of it back.
ENTER = "\x1b[?1049h\x1b[?25l\x1b[?7l\x1b[2J"
LEAVE = "\x1b[?7h\x1b[?25h\x1b[0m\x1b[?1049l"
# A line is emptied before it is written: behind the last column the cursor stands on it, and would take it away.
CLEARED = "\x1b[0m\x1b[K"
# An escape sequence comes at once; Esc alone is followed by nothing.
SEQUENCE_WITHIN_S = 0.05
ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
FALLBACK = (80, 24)


def is_able() -> bool:
    """Say whether stdout can show a screen."""
    return sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb"


def fitted(line: str, columns: int) -> str:
    """Return a line that is not too wide."""
    text = click.unstyle(line)
    shorter = cut(text, columns)
    return line if shorter in {text, text.rstrip()} else shorter


class Screen:
    """Use as a context. `ended_by`: the signal that asked for the end (Ctrl-C is one), else 0.

    Signals only leave a note and wake `typed`; the second Ctrl-C raises KeyboardInterrupt wherever the program is.
    """

    def __init__(self) -> None:
        self.ended_by = 0
        self._suspended = False
        self._wakes, self._wake_end = os.pipe()
        for fd in (self._wakes, self._wake_end):
            os.set_blocking(fd, False)
        self._before: dict[int, Any] = {}
        self._attributes: list[Any] | None = None
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._rest = ""
        self._shown: list[str] | None = None

    def __enter__(self) -> Self:
        for number in ENDING:
            self._before[number] = signal.signal(number, self._end)
        self._before[signal.SIGTSTP] = signal.signal(signal.SIGTSTP, self._suspend)
        self._before[signal.SIGWINCH] = signal.signal(signal.SIGWINCH, self._changed)
        self._take()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._give_back()
        for number, handler in self._before.items():
            signal.signal(number, handler)
        if self.ended_by in {signal.SIGTERM, signal.SIGHUP}:
            os.kill(os.getpid(), self.ended_by)  # as if nobody had listened

    @property
    def size(self) -> tuple[int, int]:
        """Columns and rows."""
        try:
            columns, rows = os.get_terminal_size(sys.stdout.fileno())
        except OSError:
            return FALLBACK
        return (columns or FALLBACK[0], rows or FALLBACK[1])

    def draw(self, lines: Sequence[str]) -> None:
        """Show these lines, as many as there is room for; one that is too wide is cut and loses its colours."""
        columns, rows = self.size
        fitting = [fitted(line, columns) for line in lines[:rows]]
        if fitting == self._shown:
            return
        self._shown = fitting
        below = "\r\n\x1b[J" if len(fitting) < rows else ""
        self._write("\x1b[H" + "\r\n".join(f"{CLEARED}{line}\x1b[0m" for line in fitting) + below)

    def wake(self) -> None:
        """Let `typed` return: there is something new to draw. From any thread."""
        with suppress(OSError):
            os.write(self._wake_end, b"w")

    def typed(self, within_s: float) -> list[str]:
        """Wait for keys, a signal, a change of size or `wake`; return the keys."""
        typed = self._read(within_s)
        found, self._rest = keys(self._rest + typed, whole=False)
        if self._rest:
            found_more, self._rest = keys(self._rest + self._read(SEQUENCE_WITHIN_S), whole=True)
            found += found_more
        if self._suspended:
            self._stop()
        return found

    def _read(self, within_s: float) -> str:
        readers = [self._wakes] if self._attributes is None else [self._wakes, sys.stdin.fileno()]
        ready = select.select(readers, [], [], within_s)[0]
        if self._wakes in ready:
            with suppress(BlockingIOError):
                os.read(self._wakes, 4096)
        if len(ready) < 2 and self._wakes in ready:
            return ""
        return self._decoder.decode(self._stdin()) if ready else ""

    def _stdin(self) -> bytes:
        try:
            data = os.read(sys.stdin.fileno(), 4096)
        except OSError:
            data = b""
        if not data:
            self.ended_by = self.ended_by or signal.SIGHUP
        return data

    def _take(self) -> None:
        if sys.stdin.isatty():
            self._attributes = termios.tcgetattr(sys.stdin)
            tty.setcbreak(sys.stdin, termios.TCSADRAIN)
        self._shown = None
        self._write(ENTER)

    def _give_back(self) -> None:
        self._write(LEAVE)
        if self._attributes is not None:
            with suppress(termios.error):
                termios.tcsetattr(sys.stdin, termios.TCSADRAIN, self._attributes)

    def _stop(self) -> None:
        """Ctrl-Z: stand still with the terminal as it was; go on when told to."""
        self._suspended = False
        self._give_back()
        os.kill(os.getpid(), signal.SIGSTOP)
        self._take()

    def _write(self, text: str) -> None:
        data = memoryview(text.encode(errors="replace"))
        try:
            while data:
                data = data[os.write(sys.stdout.fileno(), data) :]
        except OSError:  # the terminal is gone
            self.ended_by = self.ended_by or signal.SIGHUP

    def _end(self, number: int, _frame: FrameType | None) -> None:
        if number == signal.SIGINT and self.ended_by == signal.SIGINT:
            raise KeyboardInterrupt
        self.ended_by = number
        self.wake()

    def _suspend(self, _number: int, _frame: FrameType | None) -> None:
        self._suspended = True
        self.wake()

    def _changed(self, _number: int, _frame: FrameType | None) -> None:
        self._shown = None
        self.wake()
