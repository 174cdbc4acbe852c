"""Output of a run as lines on a screen: what comes in pieces is put together, and nothing in it is obeyed. Pure."""

from __future__ import annotations

import codecs
import re
from collections import deque
from typing import NamedTuple

# Longer lines are cut off in front: nobody reads on a screen what is wider than many screens.
LONGEST_LINE = 4000
TAB = 8
# CSI and OSC sequences, and other escapes of two signs (ECMA-48).
_ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[ -/]*[0-~])")


class OutputLine(NamedTuple):
    """One line, and the stream it was written to; "" for what we say ourselves."""

    stream: str
    text: str


class Lines:
    """The newest lines of both streams, `keep` of them, in the order in which they came."""

    def __init__(self, keep: int) -> None:
        self._done: deque[OutputLine] = deque(maxlen=keep)
        self._decoders: dict[str, codecs.IncrementalDecoder] = {}
        self._rest: dict[str, str] = {}

    def add(self, stream: str, data: bytes) -> None:
        """Take in a piece of a stream: it may end in the middle of a line, or of a letter."""
        decoder = self._decoders.setdefault(stream, codecs.getincrementaldecoder("utf-8")("replace"))
        *done, rest = (self._rest.pop(stream, "") + decoder.decode(data)).split("\n")
        self._done.extend(OutputLine(stream, plain(line)) for line in done)
        if rest:
            self._rest[stream] = rest[-LONGEST_LINE:]

    def say(self, text: str) -> None:
        """Put in a line of our own, behind what was written so far."""
        self._done.extend(self._unfinished())
        self._rest.clear()
        self._decoders.clear()
        self._done.append(OutputLine("", text))

    def all(self) -> list[OutputLine]:
        """Return the lines, oldest first; those that are not finished yet are the last ones."""
        return [*self._done, *self._unfinished()]

    def last(self) -> str:
        """Return the newest line that is not blank, "" when there is none."""
        return next((line.text for line in reversed(self.all()) if line.stream and line.text.strip()), "")

    def _unfinished(self) -> list[OutputLine]:
        return [OutputLine(stream, plain(text)) for stream, text in self._rest.items()]


def plain(line: str) -> str:
    """Return what is left of a line on a screen: the last of what was written over one another, without escapes."""
    shown = _ESCAPES.sub("", line).rstrip("\r").rpartition("\r")[2].expandtabs(TAB)
    return "".join(sign for sign in shown if sign.isprintable())[-LONGEST_LINE:]
