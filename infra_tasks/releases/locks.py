"""File locks (flock): one holder or several readers, gone with the last process that holds them."""

from __future__ import annotations

import fcntl
import os
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

SHARED = fcntl.LOCK_SH
EXCLUSIVE = fcntl.LOCK_EX
AT_ONCE = fcntl.LOCK_NB
# How often whoever waits for a lock looks whether it is still wanted.
LOOK_EVERY_S = 0.1


def take(path: Path, how: int) -> int | None:
    """Lock a file, waiting unless AT_ONCE is given; return the open fd, or None if somebody else holds it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    while True:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, how)
        except BlockingIOError:
            os.close(fd)
            return None
        except BaseException:
            os.close(fd)
            raise
        if _is_still(fd, path):
            return fd
        os.close(fd)


def _is_still(fd: int, path: Path) -> bool:
    # Who removes a release removes its locks: a lock on a file that has lost its name locks nothing.
    with suppress(FileNotFoundError):
        return os.path.samestat(os.fstat(fd), path.stat())
    return False


@contextmanager
def held_while(wanted: Callable[[], bool] | None, path: Path) -> Iterator[int | None]:
    """Hold a lock as soon as it is free. Yields None once that is not wanted any more (None: always wanted)."""
    how = EXCLUSIVE if wanted is None else EXCLUSIVE | AT_ONCE
    while True:
        with held(path, how) as lock:
            if lock is not None or wanted is None or not wanted():
                yield lock
                return
        time.sleep(LOOK_EVERY_S)


@contextmanager
def held(path: Path, how: int = EXCLUSIVE) -> Iterator[int | None]:
    """Hold a lock for a while. Yields None if it was asked for AT_ONCE and somebody else holds it."""
    fd = take(path, how)
    try:
        yield fd
    finally:
        if fd is not None:
            os.close(fd)
