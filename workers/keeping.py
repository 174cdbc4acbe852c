"""Deletes the folders of runs that were reported long ago."""

from __future__ import annotations

import shutil
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from infra_tasks.settings import Home

LOOK_EVERY_S = 3600.0
DAY_S = 86400.0


class Keeper:
    """Looks once an hour."""

    def __init__(self, home: Home) -> None:
        self._home = home
        self._due = 0.0

    def run_once(self, now: float, keep_days: float) -> None:
        """Delete what is older than `keep_days`. `now`: monotonic seconds."""
        if now < self._due:
            return
        self._due = now + LOOK_EVERY_S
        oldest = time.time() - keep_days * DAY_S
        for run in self._home.runs.iterdir() if self._home.runs.is_dir() else ():
            if all(_reported_before(attempt, oldest) for attempt in run.iterdir()):
                shutil.rmtree(run, ignore_errors=True)


def _reported_before(attempt: Path, oldest: float) -> bool:
    try:
        return (attempt / "reported").stat().st_mtime < oldest
    except OSError:
        return False
