"""What breaks when: drawn from the seed, so that the same seed gives the same storm."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

    from chaos.nemeses.kind import Kind


class Strike(NamedTuple):
    """`at_s` after the beginning, `kind` strikes `target` of `node`, and is undone `for_s` later."""

    at_s: float
    kind: str
    node: str
    target: str
    for_s: float

    def __str__(self) -> str:
        lasting = f" for {self.for_s:.1f} s" if self.for_s else ""
        return f"{self.at_s:6.1f} s  {self.kind} {self.node}{f' {self.target}' if self.target else ''}{lasting}"


class Ground(NamedTuple):
    """What a draw has to know of a bed."""

    nodes: tuple[str, ...]
    parts: tuple[str, ...]


def strikes(seed: int, kinds: Sequence[Kind], ground: Ground, span_s: float, count: int) -> list[Strike]:
    """Return `count` strikes within `span_s` seconds; every kind comes up before one does again."""
    if count and not kinds:
        raise ValueError("there is nothing to strike with")
    draw = random.Random(f"strikes {seed}")
    order: list[Kind] = []
    while len(order) < count:
        order += draw.sample(list(kinds), len(kinds))
    moments = [span_s * (turn + draw.uniform(0.1, 0.9)) / count for turn in range(count)]
    return [_drawn(draw, kind, ground, at) for kind, at in zip(order[:count], moments, strict=True)]


def _drawn(draw: random.Random, kind: Kind, ground: Ground, at_s: float) -> Strike:
    targets = [one for one in kind.targets if one in ground.parts or one not in PARTS] or [""]
    for_s = round(draw.uniform(*kind.lasts_s), 2) if kind.lasts_s else 0.0
    return Strike(round(at_s, 2), kind.name, draw.choice(ground.nodes), draw.choice(targets), for_s)


PARTS = frozenset({"redis", "agent", "control", "worker", "beat", "flower", "watcher", "children", "zygotes", "shim"})
