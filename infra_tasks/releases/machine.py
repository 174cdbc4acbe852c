"""What a machine says of itself to somebody who looks for trouble."""

from __future__ import annotations

import os
import resource
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import infra_tasks
from infra_tasks.releases.remote.rsync import version_line

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True)
class Machine:
    """One machine, at `clock_at` of its wall clock. `rsync`: the first line it says of itself, None without one."""

    system: str
    python: str
    executable: str
    version: str
    rsync: str | None
    open_files: int
    disk_bytes: int
    disk_free_bytes: int
    clock_at: float


def look_at(root: Path) -> Machine:
    """Look at the machine this runs on; the disk is that of `root`, or of the nearest folder above that is there."""
    there = next(folder for folder in (root, *root.parents) if folder.exists())
    disk = os.statvfs(there)
    return Machine(
        system=os.uname().sysname,
        python=".".join(map(str, sys.version_info[:3])),
        executable=sys.executable,
        version=infra_tasks.__version__,
        rsync=version_line(),
        open_files=resource.getrlimit(resource.RLIMIT_NOFILE)[0],
        disk_bytes=disk.f_blocks * disk.f_frsize,
        disk_free_bytes=disk.f_bavail * disk.f_frsize,
        clock_at=time.time(),
    )
