"""What this node's folder tells without any Redis: its watcher, its roles, its ports, what runs."""

from __future__ import annotations

import fcntl
import json
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    from infra_tasks.settings import Home

# As the watcher starts them; others come behind, by name.
ROLE_ORDER = ("redis", "agent", "control", "worker", "beat", "bridge", "flower")
DEAD = "dead"


@dataclass(frozen=True)
class Here:
    """The node in one folder, as its files tell."""

    home: Home

    def watcher(self) -> dict[str, Any] | None:
        """Return pid, state and since_at of the living watcher, or None."""
        if not is_held(self.home.root / "watcher.lock"):
            return None
        said = _read(self.home.root / "watcher.json")
        return {"pid": said.get("pid"), "state": said.get("state"), "since_at": said.get("since_at")}

    def roles(self) -> list[dict[str, Any]]:
        """Return name, pid, state, since_at and restarts of every role; a living one holds its lock."""
        names = sorted((path.stem for path in self.home.roles.glob("[!.]*.json")), key=_rank)
        return [self._role(name) for name in names]

    def _role(self, name: str) -> dict[str, Any]:
        said = _read(self.home.roles / f"{name}.json")
        pid, state = said.get("pid"), said.get("state")
        if pid is not None and not is_held(self.home.roles / f"{name}.lock"):
            pid, state = None, DEAD
        return {
            "name": name,
            "pid": pid,
            "state": state,
            "since_at": said.get("since_at"),
            "restarts": int(said.get("restarts") or 0),
        }

    def port(self, name: str) -> int | None:
        """Return a loopback port of this node, None when it was not chosen yet."""
        port = _read(self.home.ports_json).get(name)
        return port if isinstance(port, int) else None

    def running(self) -> int:
        """Return how many attempts of this node are not reported yet."""
        try:
            return sum(1 for path in self.home.live.iterdir() if not path.name.startswith("."))
        except FileNotFoundError:
            return 0


def is_held(path: Path) -> bool:
    """Say whether somebody holds the lock of a file: the living do."""
    try:
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False


def _rank(name: str) -> tuple[int, str]:
    return (ROLE_ORDER.index(name) if name in ROLE_ORDER else len(ROLE_ORDER), name)


def _read(path: Path) -> dict[str, Any]:
    try:
        said = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return said if isinstance(said, dict) else {}
