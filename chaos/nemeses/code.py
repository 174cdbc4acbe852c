"""Nemesis 8: code that changes while it is brought, canvases whose members are held by dying children, an upgrade."""

from __future__ import annotations

import json
import random
import signal
import time
from typing import TYPE_CHECKING

import psutil

from chaos.clock import now
from chaos.nemeses.kills import hit, send
from chaos.nemeses.kind import Kind
from chaos.plan import CHORD_PARTS

if TYPE_CHECKING:
    from collections.abc import Callable

    from chaos.nemeses.kind import Scene, Undo
    from chaos.strikes import Strike

PATIENCE_S = 10.0
LOOK_EVERY_S = 0.02
EDITS, EDIT_EVERY_S = 30, 0.05


def edit(scene: Scene, strike: Strike) -> None:
    """A project is edited again and again: written anew, a file more, a file gone, another mode."""
    draw = random.Random(str(strike))  # the same strike, the same edits
    for _ in range(EDITS):
        source = scene.bed.sources[draw.choice(sorted(scene.bed.sources))]
        file = source / "deep" / f"{draw.randrange(12)}.txt"
        if draw.random() < 0.2:
            file.unlink(missing_ok=True)
        else:
            file.write_text(f"{draw.random()}\n")
            file.chmod(draw.choice((0o644, 0o755)))
        time.sleep(EDIT_EVERY_S)


def kill_chord_children(scene: Scene, strike: Strike) -> None:
    """The pool children are killed while one of them holds a member of a chord."""
    _once(lambda: _chord_members(scene) & {run for run, _ in scene.bed.attempts(strike.node)})
    hit(scene.bed.pids("children", strike.node), signal.SIGKILL)


def _chord_members(scene: Scene) -> set[str]:
    """The runs of every chord that was handed in."""
    handed = scene.bed.folder / "work.handed"
    lines = handed.read_text().split("\n")[:-1] if handed.exists() else []
    canvases = [json.loads(line)["ids"] for line in lines]
    return {run for ids in canvases if len(ids) > CHORD_PARTS for run in ids}


def restart_worker_when_full(scene: Scene, strike: Strike) -> None:
    """The worker is killed, or asked to end, while every slot is taken: the next one must not fill them again."""
    _once(lambda: len(scene.bed.attempts(strike.node)) >= scene.bed.slots)
    hit(scene.bed.pids("worker", strike.node), getattr(signal, strike.target))


def kill_rsync(scene: Scene, strike: Strike) -> None:
    """Whatever brings code is killed half way: every rsync and ssh that works in the folders of the bed."""
    until = now() + strike.for_s
    folder = str(scene.bed.folder)
    while now() < until:
        for process in psutil.process_iter(["name", "cmdline"]):
            words = process.info["cmdline"] or []
            if process.info["name"] in ("rsync", "ssh") and any(folder in word for word in words):
                send([process.pid], signal.SIGKILL)
        time.sleep(LOOK_EVERY_S)


def upgrade(scene: Scene, strike: Strike) -> Undo:
    """The node is stopped, its commands go on; another version starts over the same folder, the old files gone."""
    scene.bed.stop(strike.node)
    return lambda: scene.bed.upgrade(strike.node)


def _once(holds: Callable[[], object]) -> None:
    """Strike at the moment when it holds, or when patience is over."""
    deadline = now() + PATIENCE_S
    while not holds() and now() < deadline:
        time.sleep(LOOK_EVERY_S)


ALL = (
    Kind("edit", 8, edit, beds=frozenset({"one", "three"})),
    Kind("kill-chord-children", 8, kill_chord_children),
    Kind("restart-full", 8, restart_worker_when_full, targets=("SIGKILL", "SIGTERM")),
    Kind("kill-rsync", 8, kill_rsync, lasts_s=(1, 3), beds=frozenset({"three"})),
    Kind("upgrade", 8, upgrade, lasts_s=(0.1, 3), beds=frozenset({"one", "three"})),
)
