"""Deletes the folders of runs that were reported long ago."""

from __future__ import annotations

import shutil
import time
from typing import TYPE_CHECKING

from infra_tasks.runner.attempt import Attempt

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
            attempts = [one for one in run.iterdir() if one.is_dir()] if run.is_dir() else []
            if attempts and all(_is_done_with(one, oldest) for one in attempts):
                shutil.rmtree(run, ignore_errors=True)


def _is_done_with(folder: Path, oldest: float) -> bool:
    """Reported before `oldest`; or never more than a lock that nobody holds, and old."""
    try:
        return (folder / "reported").stat().st_mtime < oldest
    except OSError:
        attempt = Attempt(folder)
        bare = attempt.record() is None and not attempt.is_over() and not attempt.is_locked()
        return bare and folder.stat().st_mtime < oldest
