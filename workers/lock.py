"""A lock file says who is alive: flock held by the living, and inside it who that is (pid and start time).

The lock ends with its holder, however it ends; the words inside may be old, so they count only while the lock is held.
"""

from __future__ import annotations

import fcntl
import json
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from infra_tasks.runner.clock import process_started

if TYPE_CHECKING:
    from pathlib import Path

ROOM_BYTES = 128  # the words are always as long: written over, they need no room on a full disk
SAME_START_S = 0.02  # two readings of one process' start differ by less than a kernel tick


@dataclass(frozen=True)
class Holder:
    """Who wrote itself into a lock file: a pid alone could be a stranger by now."""

    pid: int
    started: float

    @property
    def lives(self) -> bool:
        """Whether that very process is still there."""
        started = process_started(self.pid)
        return started is not None and abs(started - self.started) < SAME_START_S


def take(path: Path) -> int | None:
    """Return an open descriptor that holds the lock of `path`, or None when somebody else holds it."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    if try_lock(fd):
        return fd
    os.close(fd)
    return None


def try_lock(fd: int) -> bool:
    """Lock an open lock file without waiting."""
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def sign(fd: int, pid: int) -> Holder | None:
    """Write into a lock file that `pid` holds it; None when that process is gone already."""
    started = process_started(pid)
    if started is None:
        return None
    os.pwrite(fd, json.dumps({"pid": pid, "started": started}).encode().ljust(ROOM_BYTES), 0)
    return Holder(pid, started)


def wipe(fd: int) -> None:
    """Forget who held the lock before."""
    os.pwrite(fd, b" " * ROOM_BYTES, 0)


def holder(path: Path) -> Holder | None:
    """Return who wrote itself into the lock file, alive or not."""
    try:
        words = json.loads(path.read_bytes())
        return Holder(int(words["pid"]), float(words["started"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None
