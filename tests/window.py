"""What a person at a terminal sees of a command that draws: a pseudo-terminal with an emulator behind it."""

from __future__ import annotations

import fcntl
import os
import struct
import termios
import time

import pyte
from cli_process import Terminal

from infra_tasks.cli.screen import ENTER, LEAVE

ROWS = 30


class Window(Terminal):
    """`shown` is the picture, line by line, without what is blank at the ends."""

    def __init__(self, home, *arguments, columns=100, **env):
        super().__init__(home, *arguments, columns=columns, **env)
        self._screen = pyte.Screen(columns, ROWS)
        self._stream = pyte.Stream(self._screen)
        self._fed = 0

    @property
    def shown(self):
        while self._fed < len(self.seen):
            text, self._fed = self.seen[self._fed :], len(self.seen)
            self._stream.feed(text)
        return [line.rstrip() for line in self._screen.display]

    def look(self):
        """Take in what was drawn by now."""
        self._read(0.05)
        return "\n".join(self.shown).rstrip()

    def comes_to(self, what, within_s=240):
        """Wait until a text stands there, or until `what(text)` is true of the whole picture; return that picture.

        A line is emptied before it is drawn anew: what is wanted of several lines belongs into `what`.
        """
        deadline = time.monotonic() + within_s
        text = self.look()
        while not (what(text) if callable(what) else what in text):
            assert time.monotonic() < deadline, f"{what!r} not within {within_s} s; shown:\n{text}"
            text = self.look()
        return text

    def resize(self, columns, rows):
        self._screen.resize(rows, columns)
        fcntl.ioctl(self._fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    @property
    def is_restored(self):
        """The other buffer was left for good, and keys are echoed and edited by the terminal again."""
        flags = termios.tcgetattr(self._fd)[3]
        return self.seen.rfind(LEAVE) > self.seen.rfind(ENTER) and bool(flags & termios.ECHO and flags & termios.ICANON)

    def is_restored_after(self, code):
        """It ends with this exit code, and leaves the terminal as it was."""
        attributes = os.dup(self._fd)
        try:
            assert self.ends() == code, self.seen
            return self.is_restored
        finally:
            os.close(attributes)
