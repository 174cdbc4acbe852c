"""What the process of a role calls first: it takes its lock over from the watcher, and then beats.

pulse = enter("agent")
while True:
    pulse.beat()
    ...
"""

from __future__ import annotations

import contextlib
import os
import time
from typing import TYPE_CHECKING

from infra_tasks.errors import AlreadyRunning
from infra_tasks.masked_logs import mask_logs
from infra_tasks.settings import home as home_of
from workers import lock
from workers.json_file import write_json
from workers.log_file import follow
from workers.node_file import passwords
from workers.role_files import RoleFiles

if TYPE_CHECKING:
    from collections.abc import MutableMapping

    from infra_tasks.settings import Home

LOCK_FD = "INFRA_ROLE_LOCK_FD"
ROLE_NAME = "INFRA_ROLE"
BEAT_EVERY_S = 1.0


class Pulse:
    """One living role: its lock and its heartbeat."""

    def __init__(self, files: RoleFiles, lock_fd: int) -> None:
        self.files = files
        self._lock_fd = lock_fd
        self._beaten_at = -BEAT_EVERY_S

    def beat(self) -> None:
        """Say that the role does its work. Cheap, may be called in every turn of a loop, never raises."""
        now = time.monotonic()
        if now - self._beaten_at < BEAT_EVERY_S:
            return
        self._beaten_at = now
        with contextlib.suppress(OSError):
            self._touch()
            follow(self.files.log, 1, 2)

    def _touch(self) -> None:
        try:
            os.utime(self.files.beat)
        except FileNotFoundError:
            self.files.beat.touch()

    def forget_in_child(self) -> None:
        """Close the lock in a forked child: the role must not look alive when only its children are.

        `enter` registers this for every `os.fork`; a child made in another way calls it itself.
        """
        if self._lock_fd >= 0:
            os.close(self._lock_fd)
            self._lock_fd = -1


def enter(name: str, home: Home | None = None, env: MutableMapping[str, str] | None = None) -> Pulse:
    """Become the role `name` of this node and return its pulse.

    Started by the watcher, the lock comes along as an open descriptor; started by hand, the lock is taken here.
    Raises AlreadyRunning when another process is this role.
    """
    env = os.environ if env is None else env
    home = home or home_of(env)
    mask_logs(passwords(home))
    files = RoleFiles(home, name)
    fd = inherited_lock(files, env)
    if fd is None:
        fd = _take_by_hand(files)
    os.set_inheritable(fd, False)
    lock.sign(fd, os.getpid())
    pulse = Pulse(files, fd)
    os.register_at_fork(after_in_child=pulse.forget_in_child)
    return pulse


def inherited_lock(files: RoleFiles, env: MutableMapping[str, str]) -> int | None:
    """Return the lock the watcher handed over, and take the word of it out of the environment."""
    try:
        fd = int(env.pop(LOCK_FD))
        handed_over = os.path.samestat(os.fstat(fd), files.lock.stat())
    except (KeyError, ValueError, OSError):
        return None
    return fd if handed_over and lock.try_lock(fd) else None


def _take_by_hand(files: RoleFiles) -> int:
    files.make_folders()
    fd = lock.take(files.lock)
    if fd is None:
        other = lock.holder(files.lock)
        raise AlreadyRunning(
            f"role {files.name} of {files.home.root} already runs as pid {other.pid if other else 'unknown'}: "
            "stop that one first, or set INFRA_HOME to another folder"
        )
    write_json(files.status, {"pid": os.getpid(), "since_at": time.time(), "restarts": 0, "state": "running"})
    return fd
