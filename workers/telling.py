"""What the heartbeat tells of this machine beside its leases: load, room, and which of the roles really live."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from infra_tasks import roles

if TYPE_CHECKING:
    from infra_tasks.settings import Home

MEMINFO = Path("/proc/meminfo")


def machine(home: Home) -> dict[str, Any]:
    """Return load (of the last minute), cpus, disk_free_bytes, memory_free_bytes, roles, watcher, root.

    What this machine does not tell is None. Never raises: leases are renewed by the same heartbeat.
    """
    try:
        return _machine(home)
    except Exception as error:  # noqa: BLE001  a psutil that is broken, say, must not end what runs here
        return {"root": str(home.root), "error": f"{type(error).__name__}: {error}"}


def _machine(home: Home) -> dict[str, Any]:
    return {
        "load": os.getloadavg()[0],
        "cpus": os.cpu_count(),
        "disk_free_bytes": _disk_free(home),
        "memory_free_bytes": _memory_free(),
        "roles": roles.told(home),
        "watcher": roles.watcher(home) is not None,
        "root": str(home.root),
    }


def _disk_free(home: Home) -> int | None:
    try:
        return shutil.disk_usage(home.root).free
    except OSError:
        return None


def _memory_free() -> int | None:
    """Return what new processes can have: free memory, and what is only cached."""
    if MEMINFO.exists():
        return _available(MEMINFO.read_text())
    import psutil  # noqa: PLC0415  an agent on Linux is smaller without it

    return int(psutil.virtual_memory().available)


def _available(text: str) -> int | None:
    """Return MemAvailable of proc_meminfo(5), which is told in kB."""
    found = re.search(r"^MemAvailable:\s+(\d+) kB$", text, re.MULTILINE)
    return int(found[1]) * 1024 if found else None
