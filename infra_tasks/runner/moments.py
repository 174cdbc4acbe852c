"""When a stream was written: one record a second at most, for readers that begin at a moment.

`moments.<stream>` is a row of records of 16 bytes, offset and moment (microseconds, wall clock of this node): what
stands before the offset was written at that moment at the latest, what stands behind it not before. Between two records
all was written within a second of the first one.
"""

from __future__ import annotations

import os
import time
from bisect import bisect_right
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

EVERY_S = 1.0
RECORD_BYTES = 16
MODE = 0o600
_MICRO = 1_000_000


class Moments:
    """The writing end. What the disk refuses is noted with the next piece of output."""

    def __init__(self, folder: str, stream: str, clock: Callable[[], float] = time.time) -> None:
        self._path, self._clock = _path(folder, stream), clock
        self._fd = -1
        self._count = 0
        self._noted_at: float | None = None
        self._latest = 0

    def note(self, offset: int) -> None:
        """Say that what comes now stands at `offset` and behind. Never raises."""
        now = self._clock()
        if self._noted_at is not None and 0 <= now - self._noted_at < EVERY_S:
            return
        # A clock that was set back makes output seem newer than it is: better shown twice than not at all.
        self._latest = max(self._latest, int(now * _MICRO) + 1)
        try:
            self._write(offset.to_bytes(8, "little") + self._latest.to_bytes(8, "little"))
        except OSError:
            return
        self._noted_at = now

    def close(self) -> None:
        """Close the file that is open."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _write(self, record: bytes) -> None:
        """Write at the record's own place: one that was cut off by a full disk is written over."""
        if self._fd < 0:
            self._fd = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, MODE)
        if os.pwrite(self._fd, record, self._count * RECORD_BYTES) == RECORD_BYTES:
            self._count += 1


def written_after(folder: Path | str, stream: str, moment: float, end: int) -> int:
    """Return the offset behind which stands all that was written after `moment`, and at most a second's more.

    `end`: the size of the stream, looked up before. A stream without records begins at 0.
    """
    offsets, moments = _records(folder, stream)
    before = bisect_right(moments, int(moment * _MICRO))
    if before == 0:
        return 0
    if int(moment * _MICRO) - moments[before - 1] < EVERY_S * _MICRO:
        return offsets[before - 1]
    return offsets[before] if before < len(offsets) else end


def _records(folder: Path | str, stream: str) -> tuple[list[int], list[int]]:
    try:
        with open(_path(os.fspath(folder), stream), "rb") as file:  # noqa: PTH123
            data = file.read()
    except FileNotFoundError:
        return [], []
    whole = len(data) // RECORD_BYTES * RECORD_BYTES
    numbers = [int.from_bytes(data[at : at + 8], "little") for at in range(0, whole, 8)]
    return numbers[::2], numbers[1::2]


def _path(folder: str, stream: str) -> str:
    return f"{folder}/moments.{stream}"
