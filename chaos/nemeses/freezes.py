"""Nemesis 2: SIGSTOP of every process, for less and for more than the watcher or the agent bears."""

from __future__ import annotations

import signal
import threading
from typing import TYPE_CHECKING

from chaos.clock import now
from chaos.nemeses.kills import hit, send
from chaos.nemeses.kind import Kind

if TYPE_CHECKING:
    from chaos.nemeses.kind import Scene, Undo
    from chaos.strikes import Strike

PARTS = ("worker", "children", "zygotes", "agent", "control", "beat", "watcher", "shim")


def freeze(scene: Scene, strike: Strike) -> Undo:
    """All processes of a part stand still: whoever waits for them sees them alive, and silent."""
    since = now()
    frozen = scene.bed.pids(strike.target, strike.node)
    hit(frozen, signal.SIGSTOP)

    def thaw() -> None:
        send(frozen, signal.SIGCONT)
        if strike.target == "agent" and len(scene.bed.nodes) > 1:  # nobody else renews the leases of a node
            scene.cost.was_away(strike.node, since)

    return thaw


def freeze_and_kill(scene: Scene, strike: Strike) -> Undo:
    """The worker stands still while runs are handed in, and never moves again: Redis gave it hints it never read."""
    frozen = scene.bed.pids("worker", strike.node)
    hit(frozen, signal.SIGSTOP)
    return lambda: send(frozen, signal.SIGKILL)


def freeze_at_an_order(scene: Scene, strike: Strike) -> Undo:
    """Shims stand still, and their runs are cancelled: what does not act on an order is killed by the agent."""
    runs = [run for run, _ in scene.bed.attempts(strike.node)]
    frozen = scene.bed.pids("shim", strike.node)
    send(frozen, signal.SIGSTOP)
    scene.cost.cancelled.update(runs)
    threading.Thread(target=scene.bed.cancel, args=(runs,), daemon=True).start()  # Redis may be struck as well
    return lambda: send(frozen, signal.SIGCONT)


ALL = (
    Kind("freeze", 2, freeze, PARTS, lasts_s=(0.5, 10)),
    Kind(
        "freeze-long",
        2,
        freeze,
        (*PARTS, "redis"),
        lasts_s=(22, 40),
        beds=frozenset({"one", "three", "plain"}),
        keeps_away=True,
    ),
    Kind("freeze-and-kill", 2, freeze_and_kill, lasts_s=(0.3, 1.5)),
    Kind("freeze-at-order", 2, freeze_at_an_order, lasts_s=(22, 30), beds=frozenset({"one", "three"})),
)
