"""Nemesis 5: links are cut, wholly or one way, for less and for more than a lease."""

from __future__ import annotations

import random
import threading
from functools import partial
from typing import TYPE_CHECKING

from chaos.beds.door import LEASE
from chaos.clock import now
from chaos.nemeses.kind import Kind

if TYPE_CHECKING:
    from collections.abc import Callable

    from chaos.nemeses.kind import Scene, Undo
    from chaos.strikes import Strike

HOW = ("cut", "deafen", "mute")
"""Its link is down; what is sent to it is lost; what it sends is lost. Nobody is told in any of them."""
THREE = frozenset({"three"})
SHORT_S = (1.0, LEASE["lost_after_s"] * 0.75)
LONG_S = (LEASE["lost_after_s"] + 3, LEASE["lost_after_s"] + 13)


def _cut(scene: Scene, node: str, how: str) -> Callable[[], None]:
    """Cut a node off; what is returned heals it, and notes that it was away."""
    since = now()
    heal = scene.bed.cut(node, how)  # type: ignore[attr-defined]  # only this bed has links

    def undo() -> None:
        heal()
        scene.cost.was_away(node, since)

    return undo


def cut_off(scene: Scene, strike: Strike) -> Undo:
    """One node is cut off."""
    return _cut(scene, strike.node, strike.target)


def swizzle(scene: Scene, strike: Strike) -> Undo:
    """A subset is cut off one by one, and healed in another order (FoundationDB calls it swizzle-clogging)."""
    draw = random.Random(f"swizzle {strike.at_s} {strike.for_s}")
    subset = draw.sample(scene.bed.nodes, draw.randint(2, len(scene.bed.nodes)))
    healed = draw.sample(subset, len(subset))
    hows = {node: draw.choice(HOW) for node in subset}
    cuts: dict[str, Callable[[], None]] = {}

    def cut(node: str) -> None:
        cuts[node] = _cut(scene, node, hows[node])

    def heal(node: str) -> None:
        cuts.pop(node)()

    pause_s = strike.for_s / (2 * len(subset))
    acts = [*(partial(cut, node) for node in subset), *(partial(heal, node) for node in healed)]
    over = threading.Event()

    def play() -> None:
        for act in acts:
            act()
            if over.wait(pause_s):
                return

    player = threading.Thread(target=play, daemon=True)
    player.start()

    def undo() -> None:
        over.set()
        player.join()
        for node in list(cuts):
            heal(node)

    return undo


ALL = (
    Kind("cut", 5, cut_off, HOW, SHORT_S, THREE, keeps_away=True),  # two, one after the other, are a long one
    Kind("cut-long", 5, cut_off, HOW, LONG_S, THREE, keeps_away=True),
    Kind("swizzle", 5, swizzle, lasts_s=(4, 20), beds=THREE, keeps_away=True),
    Kind("swizzle-long", 5, swizzle, lasts_s=(40, 60), beds=THREE, keeps_away=True),
)
