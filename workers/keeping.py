"""Deletes the folders of runs that were reported long ago."""

from __future__ import annotations

import logging
import shutil
import time
from contextlib import suppress
from threading import Thread
from typing import TYPE_CHECKING

from infra_tasks.outputs import shelf
from infra_tasks.runner.attempt import Attempt

if TYPE_CHECKING:
    from pathlib import Path

    from infra_tasks.settings import Home

LOOK_EVERY_S = 3600.0
DAY_S = 86400.0

log = logging.getLogger("infra_tasks.agent")


class Keeper:
    """Looks once an hour, in a thread: ten thousand files are soon deleted, a night's runs with as many are not."""

    def __init__(self, home: Home) -> None:
        self._home = home
        self._due = 0.0
        self._thread: Thread | None = None

    def run_once(self, now: float, keep_days: float) -> None:
        """Begin a look, if it is time and the last one is over. `now`: monotonic seconds."""
        if now < self._due or (self._thread is not None and self._thread.is_alive()):
            return
        self._due = now + LOOK_EVERY_S
        self._thread = Thread(target=self._look_safely, args=(keep_days,), name="keep", daemon=True)
        self._thread.start()

    def _look_safely(self, keep_days: float) -> None:
        try:
            self.look(keep_days)
        except Exception:
            log.exception("folders of old runs could not be deleted; the next look follows")

    def look(self, keep_days: float) -> None:
        """Delete what is older than `keep_days`."""
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
