"""A whole node for tests: the real watcher with all its roles over a folder of its own, killed piece by piece."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
from waiting import eventually

ROOT = Path(__file__).parent.parent
ROLES = ("redis", "agent", "worker", "control", "beat", "flower")
LAST_LINES = 25  # of every log, shown when a test fails


class WholeNode:
    """One node. Everything it starts ends with `close`, also what the tests' commands left behind.

    `code`: the tree that infra_tasks and workers are taken from, this checkout if not said.
    """

    roles: tuple[str, ...] = ROLES
    inside: tuple[str, ...] = ()  # what comes before every command (a network namespace)

    def __init__(
        self, home: Path, *, slots: int = 2, projects: dict[str, Path | dict[str, Any]] | None = None, **more: Any
    ) -> None:
        code = more.pop("code", None) or ROOT
        self.home = home
        home.mkdir(parents=True, exist_ok=True)
        self.write_fleet(slots=slots, projects=projects, **more)
        self.env = {**os.environ, "INFRA_HOME": str(home)}
        self.env.pop("INFRA_ROLE", None)
        self.take_code(code)

    def take_code(self, code: Path) -> WholeNode:
        """Be run from this folder's copy of the package from now on."""
        self.code = code
        self.env["PYTHONPATH"] = os.pathsep.join([str(code), str(ROOT / "tests")])
        return self

    def write_fleet(
        self, *, slots: int = 2, projects: dict[str, Path | dict[str, Any]] | None = None, **more: Any
    ) -> None:
        """Write nodes.json; `more`: labels, limits, flower. A project is its source, or its entry without `node`."""
        fleet = {
            "fleet": "test",
            "broker": "embedded",
            "limits": more.get("limits", {}),
            **({"schedules": more["schedules"]} if "schedules" in more else {}),
            "flower": more.get("flower", {}),
            "nodes": {"n1": {"ssh": "local", "root": str(self.home), "slots": slots, "labels": more.get("labels", [])}},
            "projects": {
                name: {"node": "n1", **(said if isinstance(said, dict) else {"source": str(said)})}
                for name, said in (projects or {}).items()
            },
        }
        self.put_fleet(fleet)

    def put_fleet(self, fleet: dict[str, Any]) -> None:
        """Put a nodes.json in place, whole at once."""
        beside = self.home / ".nodes.json"
        beside.write_text(json.dumps(fleet))
        beside.chmod(0o600)
        beside.rename(self.home / "nodes.json")

    def up(self) -> WholeNode:
        """Start the watcher and wait until every role lives."""
        said = self.python("-m", "workers.watcher", "--detach", within_s=240)
        assert said.returncode == 0 or _is_only_late(said.stderr), said.stdout + said.stderr + self.logs()
        eventually(self._is_up, 60, f"every role is ready: {said.stderr}")
        return self

    def _is_up(self) -> bool:
        if _read(self.home / "watcher.json").get("state") != "up":
            return False
        return all(self.role_pid(role) for role in self.roles)

    def python(
        self, *arguments: str, within_s: float = 240, env: dict[str, str] | None = None, said: str | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run this project's python in the node's environment; `said` comes from its stdin."""
        return subprocess.run(
            [*self.inside, sys.executable, *arguments],
            env={**self.env, **(env or {})},
            cwd=self.code,
            input=said,
            capture_output=True,
            text=True,
            check=False,
            timeout=within_s,
        )

    def infra(
        self, *arguments: str, within_s: float = 240, said: str | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run the command line."""
        return self.python("-m", "infra_tasks.cli", *arguments, within_s=within_s, said=said)

    def watcher_pid(self) -> int | None:
        return _living(_read(self.home / "watcher.json"))

    def role_pid(self, role: str) -> int | None:
        """Return the pid of a living role, or None."""
        return _living(_read(self.home / "roles" / f"{role}.json"))

    def worker_children(self) -> list[int]:
        """Return the pool children of the worker."""
        parent = self.role_pid("worker")
        if parent is None:
            return []
        try:
            return [child.pid for child in psutil.Process(parent).children() if _is_pool_child(child)]
        except psutil.Error:
            return []

    def kill(self, *names: str) -> None:
        """kill -9 roles (or `watcher`, `children`) by name, all at once."""
        pids: list[int] = []
        for name in names:
            if name == "children":
                pids += self.worker_children()
            elif found := self.watcher_pid() if name == "watcher" else self.role_pid(name):
                pids.append(found)
        for pid in pids:
            _signal(pid, signal.SIGKILL)

    def ledger(self) -> Any:
        from infra_tasks.ledger import open_ledger
        from infra_tasks.settings import Home

        return open_ledger(Home(self.home))

    def logs(self) -> str:
        """Return the last lines of every log, to be shown when a test fails."""
        return "\n".join(
            f"--- {path.name}\n" + "\n".join(path.read_text(errors="replace").splitlines()[-LAST_LINES:])
            for path in sorted((self.home / "logs").glob("*.log"))
        )

    def processes(self) -> list[psutil.Process]:
        """Return every process that carries this node's folder in its environment."""
        found = []
        for process in psutil.process_iter():
            try:
                if process.pid != os.getpid() and process.environ().get("INFRA_HOME") == str(self.home):
                    found.append(process)
            except psutil.Error:
                continue
        return found

    def run_processes(self) -> list[psutil.Process]:
        """Return every process of a command of this node (they carry a cookie, and their scratch is in this folder)."""
        found = []
        for process in psutil.process_iter():
            try:
                if process.environ().get("INFRA_SCRATCH", "").startswith(str(self.home)):
                    found.append(process)
            except psutil.Error:
                continue
        return found

    def close(self) -> None:
        """End everything, whatever state it is in."""
        for pid in [self.watcher_pid(), *(self.role_pid(role) for role in self.roles)]:
            if pid:
                _signal(pid, signal.SIGKILL)
        for process in [*self.processes(), *self.run_processes(), *self._shims()]:
            _signal(process.pid, signal.SIGKILL)

    def _shims(self) -> list[psutil.Process]:
        found = []
        for process in psutil.process_iter():
            try:
                if any(str(self.home) in path.path for path in process.open_files()) and "zygote" in " ".join(
                    process.cmdline()
                ):
                    found.append(process)
            except psutil.Error:
                continue
        return found


def _is_only_late(said: str) -> bool:
    """On a busy machine a start may take longer than `--detach` waits; the watcher goes on all the same."""
    return "goes on trying" in said or "is not up after" in said


def _is_pool_child(child: psutil.Process) -> bool:
    try:
        return "zygote" not in " ".join(child.cmdline())
    except psutil.Error:  # that one has ended: the others are there
        return False


def _read(path: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(path.read_text()))
    except (OSError, ValueError):
        return {}


def _living(said: dict[str, Any]) -> int | None:
    pid = said.get("pid")
    if not pid or not psutil.pid_exists(pid):
        return None
    try:
        return None if psutil.Process(pid).status() == psutil.STATUS_ZOMBIE else int(pid)
    except psutil.Error:
        return None


def _signal(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return
