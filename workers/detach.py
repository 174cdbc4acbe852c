"""Starts a watcher in the background and returns when its roles are up, or says why they are not."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from infra_tasks.errors import AlreadyRunning, RoleFailed
from workers.down import watcher_of
from workers.json_file import read_json
from workers.log_file import last_lines, open_log
from workers.role_files import RoleFiles
from workers.role_process import IMPORT_FROM

if TYPE_CHECKING:
    from collections.abc import Sequence

    from infra_tasks.settings import Home

# So long nothing may get on: no role more may have come up. How long all of them take is the machine's business.
WITHIN_S = 60.0
LOOK_EVERY_S = 0.02
HOPELESS_RESTARTS = 3  # a role that died so often will not be up in a moment
WATCHER = (sys.executable, "-m", "workers.watcher")


@dataclass
class StartPatience:
    """How long to wait for roles: as long as one more is up every now and then."""

    within_s: float
    until: float
    most_up: int = 0

    def is_over(self, up: int, now: float) -> bool:
        """Say whether it is, `up` roles being up at `now` (a monotonic moment)."""
        if up > self.most_up:
            self.most_up, self.until = up, now + self.within_s
        return now > self.until


def detach(home: Home, argv: Sequence[str] = WATCHER, within_s: float = WITHIN_S) -> int:
    """Start the watcher in a session of its own, output to `logs/watcher.log`; return its pid when all roles are up.

    `within_s`: how long to wait for the first role, and after each for the next one.
    Raises AlreadyRunning; RoleFailed with the last lines of the log when the watcher died, or of the role that does
    not come up. In the second case the watcher goes on trying.
    """
    there = watcher_of(home)
    if there is not None:
        raise AlreadyRunning(f"a watcher already runs for {home.root}: pid {there.pid}")
    files = RoleFiles(home, "watcher")
    files.make_folders()
    watcher = _start(home, files, argv)
    try:
        _wait_until_up(home, watcher, within_s)
    finally:
        if watcher.poll() is None:
            watcher.returncode = 0  # it lives on by intention: Popen need not warn about it
    return watcher.pid


def _wait_until_up(home: Home, watcher: subprocess.Popen[bytes], within_s: float) -> None:
    patience = StartPatience(within_s, time.monotonic() + within_s)
    while not _is_up(home, watcher.pid):
        if watcher.poll() is not None:
            said = last_lines(RoleFiles(home, "watcher").log)
            raise RoleFailed(f"the watcher ended with exit code {watcher.returncode}:\n{said}")
        broken = _broken_role(home, watcher.pid)
        if broken or patience.is_over(_count_up(home, watcher.pid), time.monotonic()):
            raise RoleFailed(_complaint(home, broken or _late_role(home), watcher.pid, within_s))
        time.sleep(LOOK_EVERY_S)


def _start(home: Home, files: RoleFiles, argv: Sequence[str]) -> subprocess.Popen[bytes]:
    log = open_log(files.log)
    try:
        return subprocess.Popen(
            argv,
            env={**os.environ, "INFRA_HOME": str(home.root)},
            cwd=IMPORT_FROM,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    finally:
        os.close(log)


def _is_up(home: Home, pid: int) -> bool:
    said = read_json(home.root / "watcher.json")
    return said.get("pid") == pid and said.get("state") == "up"


def _roles(home: Home) -> dict[str, dict[str, object]]:
    return {path.stem: read_json(path) for path in sorted(home.roles.glob("[!.]*.json"))}


def _count_up(home: Home, pid: int) -> int:
    if read_json(home.root / "watcher.json").get("pid") != pid:
        return 0  # what an earlier watcher left
    return sum(role.get("state") == "running" for role in _roles(home).values())


def _broken_role(home: Home, pid: int) -> str | None:
    if read_json(home.root / "watcher.json").get("pid") != pid:
        return None
    return next((name for name, role in _roles(home).items() if _is_hopeless(role)), None)


def _is_hopeless(role: dict[str, object]) -> bool:
    return role.get("state") != "running" and int(str(role.get("restarts") or 0)) >= HOPELESS_RESTARTS


def _late_role(home: Home) -> str | None:
    return next((name for name, role in _roles(home).items() if role.get("state") != "running"), None)


def _complaint(home: Home, name: str | None, pid: int, within_s: float) -> str:
    said = last_lines(RoleFiles(home, name or "watcher").log)
    if name is None:
        return f"the watcher (pid {pid}) is not up after {within_s:.0f} s without progress:\n{said}"
    return f"role {name} does not come up; the watcher (pid {pid}) goes on trying. The end of its log:\n{said}"
