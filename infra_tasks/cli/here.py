"""What this node's folder tells without any Redis: its watcher, its roles, its ports, what runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from infra_tasks import roles

if TYPE_CHECKING:
    from infra_tasks.settings import Home


@dataclass(frozen=True)
class Here:
    """The node in one folder, as its files tell."""

    home: Home

    def watcher(self) -> dict[str, Any] | None:
        """Return pid, state, since_at and version of the living watcher, or None."""
        return roles.watcher(self.home)

    def roles(self) -> list[dict[str, Any]]:
        """Return name, pid, state, since_at and restarts of every role; a process that is gone has no pid."""
        return roles.roles(self.home)

    def port(self, name: str) -> int | None:
        """Return a loopback port of this node, None when it was not chosen yet."""
        port = roles.read(self.home.ports_json).get(name)
        return port if isinstance(port, int) else None

    def running(self) -> int:
        """Return how many attempts of this node are not reported yet."""
        try:
            return sum(1 for path in self.home.live.iterdir() if not path.name.startswith("."))
        except FileNotFoundError:
            return 0
