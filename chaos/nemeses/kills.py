"""Nemesis 1: kill -9 of every process, alone and all at once."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from typing import TYPE_CHECKING

from chaos.nemeses.kind import Kind, Missed

if TYPE_CHECKING:
    from collections.abc import Iterable

    from chaos.nemeses.kind import Scene, Undo
    from chaos.strikes import Strike


def send(pids: Iterable[int], number: int) -> None:
    """Signal those that are still there."""
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)


def hit(pids: Iterable[int], number: int) -> None:
    """Strike with a signal. Raises Missed when there is nobody."""
    there = list(pids)
    if not there:
        raise Missed("nothing of it lives")
    send(there, number)


def kill_part(scene: Scene, strike: Strike) -> None:
    """Kill -9 of all processes of one part; its watcher starts it again."""
    _kill(scene, strike, strike.target, harms=strike.target == "shim")


def _kill(scene: Scene, strike: Strike, part: str, *, harms: bool) -> None:
    """Note whom it harms between finding and striking: what was found has begun, and nobody has buried it yet."""
    found = scene.bed.pids(part, strike.node)
    alive = scene.bed.attempts(strike.node)
    hit(found, signal.SIGKILL)
    if harms:
        scene.cost.harmed.update(alive)


def kill_watcher(scene: Scene, strike: Strike) -> Undo:
    """Kill -9 of the watcher; its service starts it again a little later."""
    hit(scene.bed.pids("watcher", strike.node), signal.SIGKILL)
    return lambda: scene.bed.restart(strike.node)


def kill_node(scene: Scene, strike: Strike) -> Undo:
    """Kill -9 of all processes of a node but the commands, shims too; its service starts it again a little later."""
    _kill(scene, strike, "everything", harms=True)
    return lambda: scene.bed.restart(strike.node)


ALL = (
    Kind("kill", 1, kill_part, ("worker", "children", "agent", "control", "beat", "shim")),
    Kind("kill-watcher", 1, kill_watcher, lasts_s=(0.5, 5), beds=frozenset({"one", "three"})),
    Kind("kill-node", 1, kill_node, lasts_s=(0.5, 5)),
)
