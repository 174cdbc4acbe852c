"""How `infra logs` writes what it reads: as it is, in lines with labels, or in JSON."""

from __future__ import annotations

import codecs
import os
from typing import TYPE_CHECKING, Protocol

import click

from infra_tasks.cli.labels import labels, padded
from infra_tasks.cli.printing import print_json
from infra_tasks.cli.sink import FDS, Sink, gap_words
from infra_tasks.cli.terminal import colour, note
from infra_tasks.cli.whole_lines import WholeLines
from infra_tasks.follow import Gap

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from infra_tasks.follow import Piece

COLOURS = ("cyan", "magenta", "green", "yellow", "blue", "bright_cyan", "bright_magenta", "bright_green")
RESET = b"\x1b[0m"


class Writer(Protocol):
    """Takes what runs have written. Raises BrokenPipeError when nobody reads stdout any more."""

    def write(self, run_id: str, found: Piece | Gap) -> None:
        """Write a piece, or say what is missing."""

    def end(self, run_id: str) -> None:
        """Complete what is not complete: nothing of this run comes any more."""


class RawWriter:
    """Writes the bytes of one run as they are."""

    def __init__(self, fds: Mapping[str, int]) -> None:
        self._sink = Sink(fds)

    def write(self, run_id: str, found: Piece | Gap) -> None:  # noqa: ARG002
        """Write a piece, or say what is missing."""
        self._sink.write(found)

    def end(self, run_id: str) -> None:
        """Nothing is held back."""


class JsonWriter:
    """Prints a line of JSON for each piece. A character whose bytes come in two pieces is part of the second one."""

    def __init__(self) -> None:
        self._rests: dict[tuple[str, str], tuple[Piece, codecs.IncrementalDecoder]] = {}

    def write(self, run_id: str, found: Piece | Gap) -> None:
        """Print a piece, or what is missing."""
        key = (run_id, found.stream)
        last = self._rests.get(key)
        if last and (isinstance(found, Gap) or found.attempt != last[0].attempt):
            self._finish(key)
        if isinstance(found, Gap):
            self._print(run_id, found, found.offset, {"end": found.end})
            return
        decoder = self._rests[key][1] if key in self._rests else codecs.getincrementaldecoder("utf-8")("replace")
        held_back = len(decoder.getstate()[0])
        text = decoder.decode(found.data)
        self._rests[key] = (found, decoder)
        if text:
            self._print(run_id, found, found.offset - held_back, {"text": text})

    def end(self, run_id: str) -> None:
        """Print what was held back."""
        for key in [key for key in self._rests if key[0] == run_id]:
            self._finish(key)

    def _finish(self, key: tuple[str, str]) -> None:
        piece, decoder = self._rests.pop(key)
        held_back = len(decoder.getstate()[0])
        text = decoder.decode(b"", final=True)
        if text:
            self._print(key[0], piece, piece.offset + len(piece.data) - held_back, {"text": text})

    @staticmethod
    def _print(run_id: str, found: Piece | Gap, offset: int, more: dict[str, object]) -> None:
        said = {"run": run_id, "stream": found.stream, "attempt": found.attempt, "offset": offset}
        print_json({**said, **more}, lines=True)


class LabelledWriter:
    """Writes whole lines of several runs, (id, name) each, with a label in front.

    The label has colours only where the stream it goes to is a terminal.
    """

    def __init__(self, runs: Sequence[tuple[str, str]], fds: Mapping[str, int]) -> None:
        self._sink = Sink(fds)
        ids, names = [run_id for run_id, _ in runs], labels(runs)
        self._names = dict(zip(ids, names, strict=True))
        self._labels = dict(zip(ids, padded(names), strict=True))
        self._colours = {run_id: COLOURS[at % len(COLOURS)] for at, run_id in enumerate(ids)}
        self._is_terminal = {fd: os.isatty(fd) for fd in FDS.values()}
        self._lines: dict[tuple[str, str], WholeLines] = {}
        self._attempts: dict[tuple[str, str], int] = {}

    def write(self, run_id: str, found: Piece | Gap) -> None:
        """Write the lines that became whole, or say what is missing."""
        key = (run_id, found.stream)
        if isinstance(found, Gap) or self._attempts.get(key, found.attempt) != found.attempt:
            self._complete(key)
        if isinstance(found, Gap):
            note(f"{self._names[run_id]}: {gap_words(found)}")
            return
        self._attempts[key] = found.attempt
        self._put(key, self._lines.setdefault(key, WholeLines()).add(found.data))

    def end(self, run_id: str) -> None:
        """Write the last line, also without its end."""
        for key in self._lines:
            if key[0] == run_id:
                self._complete(key)

    def _complete(self, key: tuple[str, str]) -> None:
        if key in self._lines:
            self._put(key, self._lines[key].end())

    def _put(self, key: tuple[str, str], lines: list[bytes]) -> None:
        if lines:
            is_terminal = self._is_terminal[self._sink.fd(key[1])]
            prefix = self._prefix(key[0], coloured=is_terminal and colour() is None)
            shown = [as_on_a_terminal(line) for line in lines] if is_terminal else lines
            self._sink.put(key[1], b"".join(prefix + line + b"\n" for line in shown))

    def _prefix(self, run_id: str, *, coloured: bool) -> bytes:
        text = f"{self._labels[run_id]} | "
        if not coloured:
            return text.encode()
        # What the line before switched on ends here.
        return RESET + click.style(text, fg=self._colours[run_id]).encode()


def as_on_a_terminal(line: bytes) -> bytes:
    """Return what stands there in the end, when a line was written over and over: else it is written over its label."""
    return line.rstrip(b"\r").rpartition(b"\r")[2]
