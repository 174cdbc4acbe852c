"""A role's log: appended to, moved aside when it grows too big, two files at most.

The watcher renames; who writes finds out by itself and goes on in the new file. Nothing is copied or truncated, so no
line is lost. A writer that never looks keeps the old file and is bounded by nothing but its silence: roles look at
every heartbeat, Redis opens its log for every line.
"""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

CAP_BYTES = 5_000_000  # of one file; a role keeps two
TAIL_BYTES = 20_000  # how far back `last_lines` looks


def open_log(path: Path) -> int:
    """Return a descriptor that appends to the log."""
    return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)


def keep_small(path: Path, cap_bytes: int = CAP_BYTES) -> bool:
    """Move the log aside when it is bigger than `cap_bytes`; say whether it was."""
    try:
        if path.stat().st_size <= cap_bytes:
            return False
        path.replace(path.with_name(f"{path.name}.1"))
    except FileNotFoundError:
        return False
    return True


def follow(path: Path, *fds: int) -> bool:
    """Point the descriptors at the log's present file when they still write into one that was moved aside."""
    try:
        if not _was_moved(path, fds[0]):
            return False
        log = open_log(path)
    except OSError:
        return False
    for fd in fds:
        os.dup2(log, fd)
    os.close(log)
    return True


def _was_moved(path: Path, fd: int) -> bool:
    """Whether the descriptor is the file beside the log: anything else (a terminal, a pipe) is not ours to turn."""
    mine = os.fstat(fd)
    with contextlib.suppress(FileNotFoundError):
        if os.path.samestat(mine, path.stat()):
            return False
    return os.path.samestat(mine, path.with_name(f"{path.name}.1").stat())


def last_lines(path: Path, count: int = 15) -> str:
    """Return the last lines of a log, for a message to a person."""
    try:
        with path.open("rb") as log:
            log.seek(max(0, log.seek(0, os.SEEK_END) - TAIL_BYTES))
            text = log.read().decode(errors="replace")
    except OSError:
        return ""
    return "\n".join(text.splitlines()[-count:])
