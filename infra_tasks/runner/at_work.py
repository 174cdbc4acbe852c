"""Which processes of this machine carry the cookie of a run of this node."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import psutil

from infra_tasks.runner.processes import COOKIE_VARIABLE

if TYPE_CHECKING:
    from pathlib import Path


def at_work(runs: Path) -> dict[tuple[str, str], list[int]]:
    """Return run id and token (`<attempt>:<claim>`) of the attempts whose processes live, with their pids.

    `runs`: the node's folder of runs; processes of other nodes of this machine are none of ours. Zombies are dead.
    macOS shows the environment of its own protected programs to nobody: those are not seen.
    """
    beginning = os.fspath(runs) + os.sep
    found: dict[tuple[str, str], list[int]] = {}
    for process in psutil.process_iter():
        try:
            env = process.environ()
            ours = COOKIE_VARIABLE in env and env.get("INFRA_SCRATCH", "").startswith(beginning)
            if ours and process.status() != psutil.STATUS_ZOMBIE:
                found.setdefault((env.get("INFRA_RUN", ""), env.get("INFRA_TOKEN", "")), []).append(process.pid)
        except (psutil.Error, OSError):
            continue
    return found
