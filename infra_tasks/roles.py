"""The roles of the node in one folder and its watcher, as their files tell: only who lives is told as running.

Whoever holds a role's lock has written pid and start time into it, and that very process must be there: the lock alone
may be held by children of a dead role, and what the watcher wrote is old when the watcher is dead.
"""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

from infra_tasks.runner.clock import process_started

if TYPE_CHECKING:
    from pathlib import Path

    from infra_tasks.settings import Home

# As the watcher starts them; others come behind, by name.
ROLE_ORDER = ("redis", "agent", "worker", "control", "beat", "bridge", "flower")
DEAD = "dead"
SAME_START_S = 0.02  # two readings of one process' start differ by less than a kernel tick


def watcher(home: Home) -> dict[str, Any] | None:
    """Return pid, state, since_at and version of the living watcher, or None."""
    if living(home.root / "watcher.lock") is None:
        return None
    said = read(home.root / "watcher.json")
    return {name: said.get(name) for name in ("pid", "state", "since_at", "version")}


def roles(home: Home) -> list[dict[str, Any]]:
    """Return name, pid, state, since_at and restarts of every role; a process that is gone has no pid."""
    names = sorted((path.stem for path in home.roles.glob("[!.]*.json")), key=_rank)
    return [_role(home, name) for name in names]


def told(home: Home) -> list[dict[str, Any]]:
    """Return what others need to know of every role: name, state, restarts and since_at."""
    return [{name: role[name] for name in ("name", "state", "restarts", "since_at")} for role in roles(home)]


def living(lock: Path) -> int | None:
    """Return the pid of the living process that has signed a lock file, or None. Nobody's lock is touched."""
    said = read(lock)
    pid, started = said.get("pid"), said.get("started")
    if not isinstance(pid, int) or not isinstance(started, int | float) or is_corpse(pid):
        return None
    found = process_started(pid)
    return pid if found is not None and abs(found - started) < SAME_START_S else None


def is_corpse(pid: int) -> bool:
    """Say whether a process is dead and only not yet reaped (in a container nobody may ever do it)."""
    if sys.platform == "darwin":
        return False  # launchd reaps what nobody else does
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:  # noqa: PTH123  no file but a question to the kernel
            return file.read(4096).rpartition(b") ")[2][:1] in {b"Z", b"X"}
    except OSError:
        return False


def read(path: Path) -> dict[str, Any]:
    """Return what a JSON file says; nothing when it is not there or not whole."""
    try:
        said = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return said if isinstance(said, dict) else {}


def _role(home: Home, name: str) -> dict[str, Any]:
    said = read(home.roles / f"{name}.json")
    pid, state = said.get("pid"), said.get("state")
    if pid is not None and living(home.roles / f"{name}.lock") is None:
        pid, state = None, DEAD
    return {
        "name": name,
        "pid": pid,
        "state": state,
        "since_at": said.get("since_at"),
        "restarts": int(said.get("restarts") or 0),
    }


def _rank(name: str) -> tuple[int, str]:
    return (ROLE_ORDER.index(name) if name in ROLE_ORDER else len(ROLE_ORDER), name)
