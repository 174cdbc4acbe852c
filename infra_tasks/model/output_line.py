"""Output as Python code is given it: decoded lines, cut from the bytes as they come. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

StreamName = Literal["stdout", "stderr"]

# A line longer than this is given in parts: whoever prints no newlines is read all the same.
LONGEST_LINE_BYTES = 64 * 1024
_NEWLINE = b"\n"
_CONTINUES, _CONTINUES_MASK = 0x80, 0xC0
_LONGEST_CHARACTER_BYTES = 4


@dataclass(frozen=True)
class OutputLine:
    """One line of a run's output, without its newline; `str()` of it is its text.

    Lines are in order within their stream, and nearly so across both.
    """

    stream: StreamName
    attempt: int
    """Which attempt wrote it, from 1."""
    text: str
    """Decoded as UTF-8; bytes that are none became U+FFFD. A line above 64 KiB comes in parts."""
    is_gap: bool = False
    """The text is not output but says what is missing here: dropped, or not sent by its node."""

    def __str__(self) -> str:
        return self.text


class LineCutter:
    """Cuts the output of a run into lines. What comes after the last newline is kept until it is clear that it ends."""

    def __init__(self) -> None:
        self._attempt = 0
        self._rest: dict[StreamName, bytes] = {}

    def add(self, stream: StreamName, attempt: int, data: bytes) -> list[OutputLine]:
        """Return the lines that these bytes complete."""
        before = self._of_older_attempt(attempt)
        *whole, rest = (self._rest.get(stream, b"") + data).split(_NEWLINE)
        lines = [self._line(stream, part) for line in whole for part in _parts(line)]
        *full, self._rest[stream] = _parts(rest)
        return [*before, *lines, *(self._line(stream, part) for part in full)]

    def gap(self, stream: StreamName, attempt: int, said: str) -> list[OutputLine]:
        """Return what was kept of the stream, and a line that says what is missing."""
        before = self._of_older_attempt(attempt)
        return [*before, *self._left(stream), OutputLine(stream, attempt, said, is_gap=True)]

    def end(self) -> list[OutputLine]:
        """Return what was kept: nothing comes behind it."""
        return [line for stream in list(self._rest) for line in self._left(stream)]

    def _of_older_attempt(self, attempt: int) -> list[OutputLine]:
        lines = self.end() if attempt != self._attempt else []
        self._attempt = attempt
        return lines

    def _left(self, stream: StreamName) -> list[OutputLine]:
        rest = self._rest.pop(stream, b"")
        return [self._line(stream, rest)] if rest else []

    def _line(self, stream: StreamName, data: bytes) -> OutputLine:
        return OutputLine(stream, self._attempt, data.removesuffix(b"\r").decode("utf-8", "replace"))


def _parts(line: bytes) -> list[bytes]:
    """Return a line in parts that are not too long, no character cut in two."""
    parts = []
    while len(line) > LONGEST_LINE_BYTES:
        end = _cut_before(line, LONGEST_LINE_BYTES)
        parts.append(line[:end])
        line = line[end:]
    return [*parts, line]


def _cut_before(line: bytes, end: int) -> int:
    for at in range(end, end - _LONGEST_CHARACTER_BYTES, -1):
        if line[at] & _CONTINUES_MASK != _CONTINUES:
            return at
    return end
