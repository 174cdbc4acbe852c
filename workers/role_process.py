"""The process of one role as the watcher holds it: started by itself, or found alive and adopted."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from workers import lock
from workers.log_file import open_log
from workers.policy import Claimant
from workers.role import LOCK_FD, ROLE_NAME

if TYPE_CHECKING:
    from workers.role_files import RoleFiles
    from workers.roles import RolePlan

IMPORT_FROM = Path(__file__).resolve().parent.parent  # roles find `workers` here, and no command inherits a PYTHONPATH


class RoleProcess:
    """At most one living process, and the lock while there is none."""

    def __init__(self, files: RoleFiles) -> None:
        self.files = files
        self.holder: lock.Holder | None = None
        self._child: subprocess.Popen[bytes] | None = None
        self._lock_fd: int | None = None

    @property
    def pid(self) -> int | None:
        """Pid of the living process, None when there is none."""
        if self._child is not None:
            return self._child.pid
        return self.holder.pid if self.holder else None

    def alive(self) -> bool:
        """Whether the process lives: a child by its exit, an adopted one by its lock."""
        if self._child is not None:
            return self._child.poll() is None
        return self.holder is not None and not self._take_lock()

    def claimant(self) -> Claimant:
        """Say who holds the lock while the watcher has no process for the role."""
        if self._take_lock():
            return Claimant.NOBODY
        holder = lock.holder(self.files.lock)
        if holder is None:
            return Claimant.UNKNOWN
        return Claimant.ROLE if holder.lives else Claimant.LEFTOVER

    def start(self, plan: RolePlan, env: dict[str, str]) -> None:
        """Start the process in its own session, its output to its log, and hand it the lock. Raises OSError."""
        assert self._lock_fd is not None
        lock.wipe(self._lock_fd)
        log = open_log(self.files.log)
        try:
            self._child = subprocess.Popen(
                plan.argv,
                env={**env, **dict(plan.env), ROLE_NAME: plan.name, LOCK_FD: str(self._lock_fd)},
                cwd=IMPORT_FROM,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                pass_fds=(self._lock_fd,),
            )
        finally:
            os.close(log)
        self.holder = lock.sign(self._lock_fd, self._child.pid)
        self._drop_lock()

    def adopt(self) -> None:
        """Take over the living process that holds the lock."""
        self.holder = lock.holder(self.files.lock)
        self._child = None

    def ask(self, signum: int) -> None:
        """Send a signal to the process itself: its children are its own affair."""
        if self.pid is not None and self.alive():
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signum)

    def kill(self) -> None:
        """Kill the process and all that is in its group. Commands have sessions of their own and live on."""
        if self.pid is not None and self.alive():
            _kill_group(self.pid)

    def bury(self) -> int | None:
        """Forget a dead process, kill what it left in its group; return its exit code if it was a child."""
        code = self._child.poll() if self._child is not None else None
        if self.pid is not None and (self._child is not None or not (self.holder and self.holder.lives)):
            _kill_group(self.pid)
        self.holder, self._child = None, None
        return code

    def clear(self) -> None:
        """Kill the group of a dead role whose children still hold its lock."""
        left = lock.holder(self.files.lock)
        if left is not None and not left.lives:
            _kill_group(left.pid)

    def let_go(self) -> None:
        """Leave the role to others."""
        self._drop_lock()

    def _take_lock(self) -> bool:
        if self._lock_fd is None:
            self._lock_fd = lock.take(self.files.lock)
        return self._lock_fd is not None

    def _drop_lock(self) -> None:
        if self._lock_fd is not None:
            os.close(self._lock_fd)
        self._lock_fd = None


def _kill_group(leader: int) -> None:
    # While a group has members its number is given to no new process: it cannot mean a stranger's group.
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, signal.SIGKILL)
