"""How far transfers are, on stderr: bars on a terminal, a line now and then anywhere else."""

from __future__ import annotations

import os
import sys
import time
from contextlib import contextmanager
from threading import Lock
from typing import TYPE_CHECKING, Protocol

from infra_tasks.cli.terminal import note
from infra_tasks.model.amounts import bytes_in_words

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rich.progress import TaskID

    from infra_tasks.releases.remote.tally import Progress

# A log that is read later needs no more.
NOTE_EVERY_S = 10.0


class Board(Protocol):
    """Shows how far the transfers to several nodes are. Called from a thread for each."""

    def show(self, node: str, progress: Progress) -> None:
        """Show how far one is."""

    def done(self, node: str) -> None:
        """Show one no more."""

    def say(self, text: str) -> None:
        """Tell something beside."""


@contextmanager
def board() -> Iterator[Board]:
    """Give what fits stderr."""
    if not sys.stderr.isatty() or os.environ.get("TERM") == "dumb":
        yield Notes()
        return
    with _bars() as bars:
        yield bars


class Notes:
    """A line for each node every ten seconds, with a rate since the beginning."""

    def __init__(self, say: Callable[[str], None] = note, clock: Callable[[], float] = time.monotonic) -> None:
        self._say, self._clock = say, clock
        self._begun: dict[str, float] = {}
        self._told: dict[str, float] = {}

    def show(self, node: str, progress: Progress) -> None:
        """Say how far one is, if nothing was said for a while."""
        now = self._clock()
        begun = self._begun.setdefault(node, now)
        if now - self._told.setdefault(node, now) >= NOTE_EVERY_S:
            self._told[node] = now
            self._say(f"{node}: {words(progress, now - begun)}")

    def done(self, node: str) -> None:
        """Forget one."""
        self._begun.pop(node, None)
        self._told.pop(node, None)

    def say(self, text: str) -> None:
        """Tell it as a note."""
        self._say(text)


def words(progress: Progress, for_s: float) -> str:
    """Return how far a transfer is that goes on for so long: files, bytes, rate, and what is left of the time."""
    said = (
        f"{progress.files:,} of {progress.files_all:,} files, "
        f"{bytes_in_words(progress.size_bytes)} of {bytes_in_words(progress.size_bytes_all)}"
    )
    rate = progress.size_bytes / for_s if for_s > 0 else 0.0
    if not rate:
        return said
    left_s = (progress.size_bytes_all - progress.size_bytes) / rate
    return f"{said}, {bytes_in_words(rate)}/s, {left_s:.0f} s left"


@contextmanager
def _bars() -> Iterator[Board]:
    from rich.console import Console  # noqa: PLC0415  only a terminal needs all of rich
    from rich.progress import (  # noqa: PLC0415
        BarColumn,
        DownloadColumn,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )
    from rich.progress import Progress as Bars  # noqa: PLC0415

    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=None),
        TextColumn("{task.fields[files]} files"),
        DownloadColumn(binary_units=True),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Bars(*columns, console=Console(stderr=True), transient=True, expand=True) as bars:
        yield _Bars(
            bars.add_task, bars.update, bars.remove_task, lambda text: bars.print(f"infra: {text}", markup=False)
        )


class _Bars:
    """One bar for each node."""

    def __init__(
        self,
        add: Callable[..., TaskID],
        update: Callable[..., None],
        remove: Callable[[TaskID], None],
        say: Callable[[str], None],
    ) -> None:
        self._add, self._update, self._remove, self.say = add, update, remove, say
        self._bars: dict[str, TaskID] = {}
        self._lock = Lock()

    def show(self, node: str, progress: Progress) -> None:
        """Move its bar; a transfer that begins anew gets a new one, so that its rate is right."""
        files = f"{progress.files:,}/{progress.files_all:,}"
        with self._lock:
            if not (progress.files or progress.size_bytes) and node in self._bars:
                self._remove(self._bars.pop(node))
            if node not in self._bars:
                self._bars[node] = self._add(node, total=progress.size_bytes_all, files=files)
            self._update(self._bars[node], completed=progress.size_bytes, files=files)

    def done(self, node: str) -> None:
        """Take its bar away."""
        with self._lock:
            if node in self._bars:
                self._remove(self._bars.pop(node))
