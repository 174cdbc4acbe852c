"""The only reader of the environment, and the map of a node's folder.

`INFRA_HOME` (default `~/.infra`) holds everything of a node, so that several nodes can live on one machine.
"""

from __future__ import annotations

import os
import sys
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
    def accepted_json(self) -> Path:
        """nodes.json as it was when it was right the last time: roles start from it while it is broken."""
        return self.root / "nodes.accepted.json"

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
    def archive(self) -> Path:
        """`<year>-<month>.jsonl.zst`: runs that have left the history, as far as this node exported them."""
        return self.root / "archive"

    @property
    def fetch(self) -> Path:
        """One small file per attempt whose outputs are to be fetched from another node: `<run id>@<attempt>`."""
        return self.root / "fetch"

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
        """Passwords of the node itself, 0600 each."""
        return self.root / "secrets"

    @property
    def secrets_json(self) -> Path:
        """What runs are given by reference: names and values, 0600."""
        return self.root / "secrets.json"

    @property
    def redis(self) -> Path:
        """Configuration and files of the embedded Redis."""
        return self.root / "redis"

    @property
    def ports_json(self) -> Path:
        """Loopback ports of this node, chosen once: {"redis": 40001, "flower": 40002}."""
        return self.root / "ports.json"

    @property
    def restoring_json(self) -> Path:
        """There while a backup is being put back: a node does not start from half of one."""
        return self.root / "restoring.json"

    @property
    def restored_json(self) -> Path:
        """There where a backup made this folder a node: {"made_at"}; folders of runs from before it are not here."""
        return self.root / "restored.json"

    def attempt(self, run_id: str, attempt: int) -> Path:
        """Return the folder of one attempt."""
        return self.runs / run_id / str(attempt)


def home(env: Mapping[str, str] | None = None) -> Home:
    """Return this node's folder: `INFRA_HOME`, else `~/.infra`."""
    env = os.environ if env is None else env
    return Home(Path(env.get("INFRA_HOME") or "~/.infra").expanduser().absolute())


def said(env: Mapping[str, str] | None = None) -> dict[str, str | None]:
    """Return the variables a user may set and what they are set to; None for those that are not."""
    env = os.environ if env is None else env
    return {name: env.get(name) or None for name in ("INFRA_HOME", "INFRA_INCLUDE")}


def completion(env: Mapping[str, str] | None = None) -> tuple[str, float]:
    """Return what a shell asks to have completed (empty: nothing) and within how many seconds it wants an answer."""
    env = os.environ if env is None else env
    return env.get("_INFRA_COMPLETE", ""), float(env.get("INFRA_COMPLETION_S") or 0.22)


def included_modules(env: Mapping[str, str] | None = None) -> list[str]:
    """Return modules with plain Celery tasks of the user that this node should know: `INFRA_INCLUDE=a.b,c`."""
    env = os.environ if env is None else env
    return [name.strip() for name in env.get("INFRA_INCLUDE", "").split(",") if name.strip()]


def client_name(env: Mapping[str, str] | None = None) -> str:
    """Return the name this process shows in Redis' CLIENT LIST."""
    env = os.environ if env is None else env
    return f"infra-{env.get('INFRA_ROLE', 'client')}"


# What a command may see of the environment its node was started in: enough to be at home, nothing secret.
_INHERITED = ("PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LC_ALL", "LC_CTYPE", "TMPDIR", "TZ", "SSH_AUTH_SOCK")
_DEFAULT_PATH = "/opt/homebrew/bin:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"


def inherited(env: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the environment that commands inherit from their node."""
    env = os.environ if env is None else env
    kept = {name: env[name] for name in _INHERITED if name in env}
    kept.setdefault("PATH", _DEFAULT_PATH)
    return kept


def role(env: Mapping[str, str] | None = None) -> str:
    """Return which role of a node this process is; empty in any other process."""
    env = os.environ if env is None else env
    return env.get("INFRA_ROLE", "")


def role_node(env: Mapping[str, str] | None = None) -> str:
    """Return the node whose role this process is; empty in any other process."""
    env = os.environ if env is None else env
    return env.get("INFRA_NODE", "")


def has_browser(env: Mapping[str, str] | None = None, platform: str = sys.platform) -> bool:
    """Say whether a browser can be shown to whoever asks: a screen, or a browser of their own choice.

    Over ssh the screen of a Mac is somebody else's; and without any screen only browsers for terminals are found.
    """
    env = os.environ if env is None else env
    if env.get("BROWSER"):
        return True
    if platform == "darwin":
        return "SSH_CONNECTION" not in env
    return bool(env.get("DISPLAY") or env.get("WAYLAND_DISPLAY"))
