"""Nemesis 2: pool children that wait for a command stand still, while others go on with what they were at."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import psutil

from chaos.nemeses.kills import hit, send
from chaos.nemeses.kind import Kind

if TYPE_CHECKING:
    from collections.abc import Iterator

    from chaos.nemeses.kind import Scene, Undo
    from chaos.strikes import Strike


def freeze_waiters(scene: Scene, strike: Strike) -> Undo:
    """Freeze the children whose commands run. The agent reports those; what a woken child then says is old news."""
    children = set(scene.bed.pids("children", strike.node))
    frozen = {pid for shim in scene.bed.pids("shim", strike.node) for pid in _above(shim) if pid in children}
    hit(frozen, signal.SIGSTOP)
    return lambda: send(frozen, signal.SIGCONT)


def _above(pid: int) -> Iterator[int]:
    """The parents of a process, up to the first."""
    try:
        yield from (one.pid for one in psutil.Process(pid).parents())
    except psutil.Error:
        return


ALL = (Kind("freeze-waiters", 2, freeze_waiters, lasts_s=(2, 12), beds=frozenset({"one", "three"})),)
