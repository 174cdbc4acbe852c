"""Files that only grow: one zstd frame for each batch of lines, and an index with a line for each frame.

A frame counts once its index line is on the disk. What lies behind the last such frame - a writer was killed there -
is written over by the next one; a reader passes over it. An index that is lost is made anew from the frames.
"""

from __future__ import annotations

import fcntl
import json
import os
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import IO, TYPE_CHECKING

import zstandard

from infra_tasks.runner.attempt import sync_file, sync_folder

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

SUFFIX, INDEX_SUFFIX = ".jsonl.zst", ".index"
PIECE_BYTES = 1 << 16
MODE = 0o600


class FrameDamaged(ValueError):
    """A frame is not what was written."""


@dataclass(frozen=True)
class Frame:
    """Where a frame lies. `raw_bytes`: unpacked; `newest`: when the last of its runs was submitted (wall seconds)."""

    offset: int
    size_bytes: int
    raw_bytes: int
    lines: int | None = None
    newest: float | None = None

    @property
    def end(self) -> int:
        """The first byte behind it."""
        return self.offset + self.size_bytes


class Frames:
    """The files of one folder, by name (a month)."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def names(self) -> list[str]:
        """Return the names, newest first."""
        return sorted((path.name.removesuffix(SUFFIX) for path in self._folder.glob(f"*{SUFFIX}")), reverse=True)

    def append(self, name: str, lines: Sequence[bytes], newest: float) -> Frame:
        """Add a frame; it is on the disk when this returns. Raises OSError."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        raw = b"".join(lines)
        packed = zstandard.ZstdCompressor(write_checksum=True).compress(raw)
        with self._locked(), self._opened(self.file(name)) as data, self._opened(self._index(name)) as index:
            frames = _mended(data, index)
            frame = Frame(frames[-1].end if frames else 0, len(packed), len(raw), len(lines), newest)
            _write_at(data, frame.offset, packed)
            _write_at(index, index.seek(0, os.SEEK_END), _index_line(frame))
        sync_folder(os.fspath(self._folder))
        return frame

    def frames(self, name: str) -> tuple[list[Frame], bool]:
        """Return the frames that count, oldest first, and whether nothing else is in the file."""
        try:
            with self.file(name).open("rb") as data:
                size = os.fstat(data.fileno()).st_size
                indexed = [frame for frame in self._indexed(name) if frame.end <= size]
                frames = indexed or list(_walked(data))
                return frames, (frames[-1].end if frames else 0) == size
        except FileNotFoundError:
            return [], True

    def read(self, name: str, frame: Frame) -> list[bytes]:
        """Return the lines of a frame. Raises FrameDamaged."""
        with self.file(name).open("rb") as data:
            data.seek(frame.offset)
            packed = data.read(frame.size_bytes)
        try:
            if zstandard.frame_content_size(packed) != frame.raw_bytes:
                raise FrameDamaged("its length is not the one that was noted")
            return zstandard.ZstdDecompressor().decompress(packed).splitlines(keepends=True)
        except zstandard.ZstdError as error:
            raise FrameDamaged(str(error)) from error

    def file(self, name: str) -> Path:
        """Return the file of a name; it need not be there."""
        return self._folder / f"{name}{SUFFIX}"

    def _index(self, name: str) -> Path:
        return self._folder / f"{name}{INDEX_SUFFIX}"

    def _indexed(self, name: str) -> list[Frame]:
        try:
            return _read_index(self._index(name).read_bytes())[0]
        except FileNotFoundError:
            return []

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """One writer at a time: the agent before this one may still be at it."""
        with self._opened(self._folder / ".lock") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _opened(self, path: Path) -> IO[bytes]:
        return os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, MODE), "r+b")


def _mended(data: IO[bytes], index: IO[bytes]) -> list[Frame]:
    """Return the frames that count, and cut both files behind the last of them."""
    size = data.seek(0, os.SEEK_END)
    frames, good = _read_index(index.read())
    if (size and not frames) or (frames and frames[-1].end > size):
        frames = list(_walked(data))
        index.truncate(0)
        _write_at(index, 0, b"".join(map(_index_line, frames)))
    else:
        index.truncate(good)
    data.truncate(frames[-1].end if frames else 0)
    return frames


def _write_at(file: IO[bytes], offset: int, data: bytes) -> None:
    file.seek(offset)
    file.write(data)
    file.flush()
    sync_file(file.fileno())


def _index_line(frame: Frame) -> bytes:
    return json.dumps(asdict(frame), separators=(",", ":")).encode() + b"\n"


def _read_index(text: bytes) -> tuple[list[Frame], int]:
    """Return the frames of whole lines that fit together, and where the last of those lines ends."""
    frames: list[Frame] = []
    good = 0
    for line in text.splitlines(keepends=True):
        try:
            frame = Frame(**json.loads(line))
        except (ValueError, TypeError):
            break
        if not line.endswith(b"\n") or frame.offset != (frames[-1].end if frames else 0):
            break
        frames.append(frame)
        good += len(line)
    return frames, good


def _walked(data: IO[bytes]) -> Iterator[Frame]:
    """Find the whole frames of a file from its beginning; what comes behind one that is not whole is lost."""
    offset = 0
    while True:
        data.seek(offset)
        unpack, size, raw = zstandard.ZstdDecompressor().decompressobj(), 0, 0
        while not unpack.eof:
            piece = data.read(PIECE_BYTES)
            try:
                raw += len(unpack.decompress(piece)) if piece else 0
            except zstandard.ZstdError:
                return
            if not piece:
                return
            size += len(piece)
        frame = Frame(offset, size - len(unpack.unused_data), raw)
        yield frame
        offset = frame.end
