"""The plans of this node's roles, read again when nodes.json changes.

nodes.json is checked in a small process of its own: the checker needs far more memory than the watcher should hold
for good. A broken nodes.json keeps the old plans and is complained about once.
"""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from typing import TYPE_CHECKING

from infra_tasks.errors import BadFleet
from workers.role_process import IMPORT_FROM
from workers.roles import RolePlan, node_roles

if TYPE_CHECKING:
    from infra_tasks.settings import Home

CHECK_S = 30.0  # the checker's deadline

log = logging.getLogger("watcher")


class PlanSource:
    """Call it for the plans. The first call raises BadFleet when nodes.json is wrong; later ones keep what was."""

    def __init__(self, home: Home) -> None:
        self._home = home
        self._seen: tuple[int, int] | None = None
        self._plans: tuple[RolePlan, ...] | None = None

    def __call__(self) -> tuple[RolePlan, ...]:
        """Return the plans; costs one stat while nodes.json is as it was."""
        mark = self._mark()
        if self._plans is not None and mark == self._seen:
            return self._plans
        self._seen = mark
        try:
            self._plans = self._read()
        except BadFleet as error:
            if self._plans is None:
                raise
            log.error("nodes.json is wrong; the roles go on as they were:\n%s", error)  # noqa: TRY400
        return self._plans

    def _mark(self) -> tuple[int, int] | None:
        try:
            stat = self._home.nodes_json.stat()
        except OSError:
            return None
        return stat.st_mtime_ns, stat.st_ino

    def _read(self) -> tuple[RolePlan, ...]:
        argv = [sys.executable, "-m", "workers.node_plan"]
        env = {**os.environ, "INFRA_HOME": str(self._home.root)}
        try:
            done = subprocess.run(
                argv, env=env, cwd=IMPORT_FROM, capture_output=True, text=True, timeout=CHECK_S, check=False
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise BadFleet(f"{self._home.nodes_json} could not be checked: {error}") from error
        if done.returncode:
            raise BadFleet(done.stderr.strip())
        said = json.loads(done.stdout)
        return node_roles(embedded=said["embedded"], env=said["env"])
