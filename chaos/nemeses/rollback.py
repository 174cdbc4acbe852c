"""Nemesis 3: Redis comes back with an older copy of its files, while everything else went on."""

from __future__ import annotations

import shutil
import signal
import time
from typing import TYPE_CHECKING

from chaos.clock import now
from chaos.nemeses.kills import send
from chaos.nemeses.kind import Kind, Missed
from chaos.nemeses.room import BALLAST

if TYPE_CHECKING:
    from pathlib import Path

    from chaos.nemeses.kind import Scene, Undo
    from chaos.strikes import Strike

GONE_WITHIN_S = 30.0
"""A killed process that waits for its disk may take its time."""
LOOK_EVERY_S = 0.01


def roll_back(scene: Scene, strike: Strike) -> Undo:
    """Copy the files of Redis, and later start it from the copy: what came in between is forgotten by the ledger.

    What was accepted in between and never started is known to nobody any more; all else must come out right.
    """
    if not scene.bed.pids("redis", strike.node):
        raise Missed("no Redis lives")
    since = now()
    folder = scene.bed.redis_files()
    older = scene.folder / f"redis-{since:.2f}"
    older.mkdir()
    _copy(folder, older)

    def swap() -> None:
        with scene.bed.redis_stays_down():
            redis = scene.bed.pids("redis", strike.node)
            send(redis, signal.SIGKILL)
            if not redis or not _gone(scene, strike.node):
                raise Missed("another strike is at it: it may start any moment")
            _remove(folder)
            _copy(older, folder)
            scene.cost.forgotten.append((since, now()))

    return swap


def _gone(scene: Scene, node: str) -> bool:
    deadline = now() + GONE_WITHIN_S
    while scene.bed.pids("redis", node):
        if now() > deadline:
            return False
        time.sleep(LOOK_EVERY_S)
    return True


def _copy(folder: Path, into: Path) -> None:
    for file in _files(folder):
        target = into / file.relative_to(folder)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(file, target)


def _remove(folder: Path) -> None:
    for file in _files(folder):
        file.unlink()


def _files(folder: Path) -> list[Path]:
    return [one for one in folder.rglob("*") if one.is_file() and one.name != BALLAST]


ALL = (Kind("redis-rollback", 3, roll_back, lasts_s=(0.5, 6), beds=frozenset({"one", "three"}), forgets=True),)
