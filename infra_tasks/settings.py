"""The only reader of the environment, and the map of a node's folder.

`INFRA_HOME` (default `~/.infra`) holds everything of a node, so that several nodes can live on one machine.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class Home:
    """Where things are in one node's folder."""

    root: Path

    @property
    def nodes_json(self) -> Path:
        """The fleet as the user wrote it."""
        return self.root / "nodes.json"

    @property
    def node_json(self) -> Path:
        """Who this node is: name and uuid, written once."""
        return self.root / "node.json"

    @property
    def runs(self) -> Path:
        """`runs/<run id>/<attempt>/`: lock, record, output, exit record."""
        return self.root / "runs"

    @property
    def live(self) -> Path:
        """One small file per attempt that is not reported yet: `<run id>@<attempt>`."""
        return self.root / "live"

    @property
    def projects(self) -> Path:
        """`projects/<project>/releases/<digest>/`."""
        return self.root / "projects"

    @property
    def roles(self) -> Path:
        """`roles/<role>.{lock,json,beat}` of the watcher."""
        return self.root / "roles"

    @property
    def logs(self) -> Path:
        """`logs/<role>.log`."""
        return self.root / "logs"

    @property
    def secrets(self) -> Path:
        """Passwords, 0600 each."""
        return self.root / "secrets"

    @property
    def redis(self) -> Path:
        """Configuration and files of the embedded Redis."""
        return self.root / "redis"

    @property
    def ports_json(self) -> Path:
        """Loopback ports of this node, chosen once: {"redis": 40001, "flower": 40002}."""
        return self.root / "ports.json"

    def attempt(self, run_id: str, attempt: int) -> Path:
        """Return the folder of one attempt."""
        return self.runs / run_id / str(attempt)


def home(env: Mapping[str, str] | None = None) -> Home:
    """Return this node's folder: `INFRA_HOME`, else `~/.infra`."""
    env = os.environ if env is None else env
    return Home(Path(env.get("INFRA_HOME") or "~/.infra").expanduser().absolute())
