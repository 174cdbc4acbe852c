"""Read one file of a tree and be sure that it did not change meanwhile."""

from __future__ import annotations

import hashlib
import os
import stat
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

CHUNK_BYTES = 1 << 20
# What changed less than this ago may change again within one tick of the disk's clock, and stat would not show it (git
# calls such entries racily clean).
TICK_NS = 100_000_000
# Disks that only know whole seconds (HFS+, some network disks) need more.
COARSE_TICK_NS = 2_000_000_000
_TRIES = 3
TO_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class Stamp(NamedTuple):
    """What tells one state of a file from another. The ctime is the part nobody can set."""

    inode: int
    size: int
    mtime_ns: int
    ctime_ns: int


class Changing(OSError):
    """The file changed each time it was read."""


def stamp(seen: os.stat_result) -> Stamp:
    """Return the stamp of a stat."""
    return Stamp(seen.st_ino, seen.st_size, seen.st_mtime_ns, seen.st_ctime_ns)


def settled(ctime_ns: int, at_ns: int) -> bool:
    """Say whether a change made at `at_ns` or later would show another ctime than this one."""
    coarse = ctime_ns % 1_000_000_000 == 0
    return ctime_ns + (COARSE_TICK_NS if coarse else TICK_NS) <= at_ns


def open_to_read(path: str) -> int:
    """Open a plain file, never a link; a pipe that took its name does not block, and is refused."""
    fd = os.open(path, TO_READ)
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise Changing(0, "is no plain file any more", path)
    return fd


def open_folder(path: str | Path, above: int | None = None) -> int:
    """Open a folder (below the open folder `above`), so that paths below it are short."""
    return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=above)


@contextmanager
def closing_fd(fd: int) -> Iterator[int]:
    """Close it in the end."""
    try:
        yield fd
    finally:
        os.close(fd)


def hash_file(path: str) -> tuple[str, os.stat_result]:
    """Return the sha256 of a file and the stat that was the same before and after reading.

    Raises Changing if it never was, and OSError.
    """
    for _ in range(_TRIES):
        fd = open_to_read(path)
        try:
            before = os.fstat(fd)
            digest = read_through(fd, before.st_size)
            after = os.fstat(fd)
        finally:
            os.close(fd)
        if stamp(before) == stamp(after):
            return digest, after
    raise Changing(0, "changes while it is read", path)


def read_through(fd: int, size: int, also: Callable[[bytes], object] | None = None) -> str:
    """Return the sha256 of all that can be read, and give each piece to `also`. `size` is only a guess, for speed."""
    hasher = hashlib.sha256()
    at_once, left = min(size + 1, CHUNK_BYTES), size
    while piece := os.read(fd, at_once):
        hasher.update(piece)
        if also is not None:
            also(piece)
        left -= len(piece)
        if left == 0 and len(piece) < at_once:
            break  # all of it, and more was asked for: this is the end
    return hasher.hexdigest()


def seal(path: str, mode: int, sha256: str, top: int) -> os.stat_result | None:
    """Give a file below the folder `top` this mode if it has this content; return its state then, None if it has not.

    One that has the mode is told of as it was before it was read: a change since then shows in another ctime.
    Raises OSError.
    """
    fd = os.open(path, TO_READ, dir_fd=top)
    try:
        before = os.fstat(fd)
        if not stat.S_ISREG(before.st_mode) or read_through(fd, before.st_size) != sha256:
            return None
        if stat.S_IMODE(before.st_mode) == mode:
            return before
        if stamp(os.fstat(fd)) != stamp(before):
            return None
        os.fchmod(fd, mode)
        return os.fstat(fd)
    finally:
        os.close(fd)
