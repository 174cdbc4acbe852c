"""Nemesis 7: a whole machine sleeps, and wakes; its wall clock, or that of Redis, is off by an hour."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

from turned_clock import why_not

from chaos.clock import now
from chaos.nemeses.kills import send
from chaos.nemeses.kind import Kind
from chaos.nemeses.links import LONG_S, SHORT_S, THREE

if TYPE_CHECKING:
    from collections.abc import Callable

    from chaos.nemeses.kind import Scene, Undo
    from chaos.strikes import Strike

HOUR_S = 3600
WAYS = {"ahead": HOUR_S, "behind": -HOUR_S}


def suspend(scene: Scene, strike: Strike) -> Undo | None:
    """Freeze every process of a node, its commands too; thaw them all at once."""
    asleep = scene.bed.asleep  # type: ignore[attr-defined]  # only this bed can sleep
    if strike.node in asleep:
        return None
    asleep.add(strike.node)
    since = now()
    frozen: set[int] = set()
    # Whoever was begun while the others were stopped is found by another look.
    while more := set(scene.bed.all_pids(strike.node)) - frozen:  # type: ignore[attr-defined]  # only this bed has it
        send(more, signal.SIGSTOP)
        frozen |= more

    def thaw() -> None:
        scene.cost.thaws(strike.node, since)
        send(sorted(frozen), signal.SIGCONT)
        scene.cost.was_away(strike.node, since, frozen=True)
        asleep.remove(strike.node)

    return thaw


def turn_clock(scene: Scene, strike: Strike) -> Undo:
    """Turn the wall clock of a node."""
    return _turn(scene, strike.node, strike.target)


def turn_redis_clock(scene: Scene, strike: Strike) -> Undo:
    """Turn the wall clock of Redis."""
    undo = _turn(scene, "redis", strike.target)
    scene.cost.turned_redis(WAYS[strike.target])

    def right_again() -> None:
        undo()
        scene.cost.turned_redis(0)

    return right_again


def _turn(scene: Scene, whose: str, way: str) -> Callable[[], None]:
    turn = scene.bed.turn  # type: ignore[attr-defined]  # only this bed has clocks
    turn(whose, WAYS[way])
    return lambda: turn(whose, 0)


ALL = (
    Kind("suspend", 7, suspend, lasts_s=SHORT_S, beds=THREE, keeps_away=True),
    Kind("suspend-long", 7, suspend, lasts_s=LONG_S, beds=THREE, keeps_away=True),
    Kind("clock", 7, turn_clock, tuple(WAYS), (2, 20), THREE, why_not),
    Kind("redis-clock", 7, turn_redis_clock, tuple(WAYS), (2, 20), THREE, why_not),
)
