"""Stops the watcher of a node's folder from outside, and waits until it is gone."""

from __future__ import annotations

import os
import signal
import time
from typing import TYPE_CHECKING

from infra_tasks.errors import FleetUnreachable, RoleFailed
from workers import lock

if TYPE_CHECKING:
    from infra_tasks.settings import Home

LOOK_EVERY_S = 0.05
WITHIN_S = 120.0


def watcher_of(home: Home) -> lock.Holder | None:
    """Return the living watcher of the folder, or None."""
    path = home.root / "watcher.lock"
    if not path.exists():
        return None
    fd = lock.take(path)
    if fd is not None:
        os.close(fd)
        return None
    holder = lock.holder(path)
    return holder if holder and holder.lives else None


def down(home: Home, *, kill: bool = False, within_s: float = WITHIN_S) -> None:
    """Stop the watcher and its roles; with `kill`, the running commands first.

    Raises FleetUnreachable when no watcher runs, RoleFailed when it is still there after `within_s` seconds.
    """
    watcher = watcher_of(home)
    if watcher is None:
        raise FleetUnreachable(f"no watcher runs for {home.root}: there is nothing to stop")
    os.kill(watcher.pid, signal.SIGINT if kill else signal.SIGTERM)
    deadline = time.monotonic() + within_s
    while watcher.lives and watcher_of(home) is not None:
        if time.monotonic() > deadline:
            raise RoleFailed(f"the watcher (pid {watcher.pid}) has not stopped within {within_s:.0f} s; see its log")
        time.sleep(LOOK_EVERY_S)
