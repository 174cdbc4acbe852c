"""Output of a command: segment files under a cap, written by the shim, read by whoever follows.

A stream is kept as files `stdout.<offset of its first byte, 20 digits>`. The first segment and the last two stay: the
head and the tail of an output survive whatever is between them, and the disk holds at most the cap. What a full disk
refuses is dropped and counted; it has no offset.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

from infra_tasks.runner.moments import Moments

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SEGMENTS_KEPT = 3
OFFSET_DIGITS = 20
MODE = 0o600
BLOCK_BYTES = 256 * 1024
LOOKS = 5
"""A segment may go between listing and opening; then the folder is listed again."""


class Chunk(NamedTuple):
    """A piece of a stream. `offset` is beyond what was asked for when the middle was dropped."""

    data: bytes
    offset: int
    next_offset: int


class Segments:
    """The writing end of one stream."""

    def __init__(self, folder: str, stream: str, cap_bytes: int) -> None:
        self.dropped_bytes = 0
        self.refusal = ""
        self._prefix = f"{folder}/{stream}."
        self._segment_bytes = max(1, cap_bytes // SEGMENTS_KEPT)
        self._moments = Moments(folder, stream)
        self._kept: list[int] = []
        self._fd = -1
        self._offset = 0
        self._left = 0

    def write(self, data: bytes) -> None:
        """Keep the bytes; never raises: what the disk refuses is counted in `dropped_bytes`."""
        rest = memoryview(data)
        while rest:
            self._moments.note(self._offset)
            try:
                rest = rest[self._write_some(rest) :]
            except OSError as error:
                self.dropped_bytes += len(rest)
                self.refusal = error.strerror or str(error)
                return

    def close(self) -> None:
        """Close the files that are open."""
        self._moments.close()
        self._close_segment()

    def _close_segment(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _write_some(self, data: memoryview) -> int:
        if self._left == 0:
            self._open_next()
        written = os.write(self._fd, data[: self._left])
        self._offset += written
        self._left -= written
        return written

    def _open_next(self) -> None:
        """Begin a segment; make room first, so that the cap holds at every moment."""
        while len(self._kept) >= SEGMENTS_KEPT:
            _unlink(self._prefix + _name(self._kept.pop(1)))
        path = self._prefix + _name(self._offset)
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, MODE)
        self._close_segment()
        self._fd = fd
        self._kept.append(self._offset)
        self._left = self._segment_bytes


def read(folder: Path | str, stream: str, offset: int, limit: int) -> Chunk:
    """Return at most `limit` bytes from `offset` on, skipping what was dropped; no data means: nothing there yet."""
    for _ in range(LOOKS):
        starts = _starts(folder, stream)
        at = _segment_for(folder, stream, starts, offset)
        if at is None:
            break
        begin = max(offset, at)
        data = _read_segment(folder, stream, at, begin - at, limit)
        if data is not None:
            return Chunk(data, begin, begin + len(data))
    return Chunk(b"", offset, offset)


def tail(folder: Path | str, stream: str, max_bytes: int) -> str:
    """Return the end of a stream as text; bytes that are no UTF-8 become U+FFFD."""
    kept, end = b"", None
    for start in reversed(_starts(folder, stream)):
        length = _length(folder, stream, start) or 0
        wanted = min(length, max_bytes - len(kept))
        if wanted <= 0 or (end is not None and start + length != end):
            break
        kept = (_read_segment(folder, stream, start, length - wanted, wanted) or b"") + kept
        end = start
    return _from_a_character_on(kept, cut=len(kept) == max_bytes).decode("utf-8", errors="replace")


def backwards(folder: Path | str, stream: str, most_bytes: int) -> Iterator[tuple[int, bytes]]:
    """Yield (offset, data) from the end of a stream to its beginning, without what was dropped; `most_bytes` in all."""
    left = most_bytes
    for segment in reversed(_starts(folder, stream)):
        end = _length(folder, stream, segment) or 0
        while end > 0 and left > 0:
            begin = max(0, end - min(BLOCK_BYTES, left))
            data = _read_segment(folder, stream, segment, begin, end - begin)
            if not data:
                break
            yield segment + begin, data
            left, end = left - len(data), begin


def size(folder: Path | str, stream: str) -> int:
    """Return how many bytes the stream has had so far, kept or not."""
    for _ in range(LOOKS):
        starts = _starts(folder, stream)
        if not starts:
            return 0
        length = _length(folder, stream, starts[-1])
        if length is not None:
            return starts[-1] + length
    return 0


def _from_a_character_on(data: bytes, *, cut: bool) -> bytes:
    """Leave out the rest of a character that was cut in two: at most three bytes 10xxxxxx (RFC 3629)."""
    skip = 0
    while cut and skip < min(3, len(data)) and data[skip] & 0xC0 == 0x80:
        skip += 1
    return data[skip:]


def _name(offset: int) -> str:
    return f"{offset:0{OFFSET_DIGITS}d}"


def _starts(folder: Path | str, stream: str) -> list[int]:
    """Return where the segments of a stream begin, ascending."""
    prefix = stream + "."
    try:
        names = os.listdir(folder)  # noqa: PTH208
    except FileNotFoundError:
        return []
    offsets = [name[len(prefix) :] for name in names if name.startswith(prefix)]
    return sorted(int(text) for text in offsets if len(text) == OFFSET_DIGITS and text.isdigit())


def _segment_for(folder: Path | str, stream: str, starts: list[int], offset: int) -> int | None:
    """Return the first segment that reaches beyond `offset`."""
    for start in starts:
        if start + (_length(folder, stream, start) or 0) > offset:
            return start
    return None


def _length(folder: Path | str, stream: str, start: int) -> int | None:
    try:
        return os.stat(f"{os.fspath(folder)}/{stream}.{_name(start)}").st_size  # noqa: PTH116
    except FileNotFoundError:
        return None


def _read_segment(folder: Path | str, stream: str, start: int, skip: int, limit: int | None) -> bytes | None:
    try:
        fd = os.open(f"{os.fspath(folder)}/{stream}.{_name(start)}", os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    with os.fdopen(fd, "rb") as file:
        file.seek(skip)
        return file.read(-1 if limit is None else limit)


def _unlink(path: str) -> None:
    try:
        os.unlink(path)  # noqa: PTH108
    except FileNotFoundError:
        return
