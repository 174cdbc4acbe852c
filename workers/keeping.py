"""Deletes the folders of runs that were reported long ago."""

from __future__ import annotations

import shutil
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from infra_tasks.outputs import shelf
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
            if run.is_dir() and _is_old(run, oldest):
                shutil.rmtree(run, ignore_errors=True)


def _is_old(run: Path, oldest: float) -> bool:
    """Nothing of a run is needed any more: no attempt, and no outputs that came (maybe from another node) lately."""
    attempts = [one for one in run.iterdir() if one.name.isdigit()]
    came_at = _outputs_came_at(run)
    if came_at is None:
        return bool(attempts) and all(_is_done_with(one, oldest) for one in attempts)
    return came_at < oldest and all(_is_done_with(one, oldest) for one in attempts)


def _outputs_came_at(run: Path) -> float | None:
    """Return when outputs came, or last grew while they were fetched; None when there are none."""
    moments = []
    for path in (*run.glob(f"{shelf.NAME}.json"), *run.glob(f".{shelf.NAME}.*")):
        with suppress(FileNotFoundError):
            moments.append(path.stat().st_mtime)
    return max(moments, default=None)


def _is_done_with(folder: Path, oldest: float) -> bool:
    """Reported before `oldest`; or never more than a lock that nobody holds, and old."""
    try:
        return (folder / "reported").stat().st_mtime < oldest
    except OSError:
        attempt = Attempt(folder)
        bare = attempt.record() is None and not attempt.is_over() and not attempt.is_locked()
        return bare and folder.stat().st_mtime < oldest
