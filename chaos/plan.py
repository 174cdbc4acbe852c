"""What is handed in during a storm: drawn from the seed, the same for every system that is struck."""

from __future__ import annotations

import random
from dataclasses import asdict, dataclass
from typing import Any

WEIGHTS = {"quick": 60, "slow": 12, "failing": 8, "retried": 8, "chord": 6, "chain": 6}
CHORD_PARTS = 3


@dataclass(frozen=True)
class Part:
    """One run: how long each attempt takes (s), with which code it ends, its habits, the node it is pinned to."""

    spans: tuple[float, ...]
    codes: tuple[int, ...] = (0,)
    habits: tuple[str, ...] = ()
    node: str = ""
    project: str = ""
    retries: int = 0

    @property
    def succeeds(self) -> bool:
        """Whether its last attempt does, when nothing breaks."""
        return self.codes[-1] == 0


def _part(said: dict[str, Any]) -> Part:
    fields: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in said.items()}
    return Part(**fields)


@dataclass(frozen=True)
class Item:
    """What is handed in at one moment: `single`, `chain` or `chord` (the last part is its body)."""

    number: int
    at_s: float
    shape: str
    parts: tuple[Part, ...]

    def as_json(self) -> dict[str, Any]:
        """Return it for the process that hands it in."""
        return asdict(self)

    @classmethod
    def of(cls, said: dict[str, Any]) -> Item:
        """Return what `as_json` was made of."""
        return cls(**{**said, "parts": tuple(_part(one) for one in said["parts"])})


@dataclass(frozen=True)
class Wish:
    """What a plan shall hold: so many runs within so many seconds, and what they may name."""

    runs: int
    span_s: float
    nodes: tuple[str, ...] = ()
    pinned: float = 0.3
    projects: tuple[str, ...] = ()
    coded: float = 0.2
    habits: tuple[str, ...] = ()
    weights: tuple[tuple[str, int], ...] = tuple(WEIGHTS.items())


def plan(seed: int, wish: Wish) -> list[Item]:
    """Return what to hand in, in order."""
    draw = random.Random(f"plan {seed}")
    items: list[Item] = []
    runs = 0
    while runs < wish.runs:
        parts, shape = _drawn(draw, wish)
        runs += len(parts)
        items.append(Item(len(items), 0.0, shape, parts))
    moments = sorted(draw.uniform(0, wish.span_s) for _ in items)
    return [Item(one.number, at, one.shape, one.parts) for one, at in zip(items, moments, strict=True)]


def _drawn(draw: random.Random, wish: Wish) -> tuple[tuple[Part, ...], str]:
    kinds, weights = zip(*wish.weights, strict=True)
    kind = draw.choices(kinds, weights)[0]
    where: dict[str, Any] = {
        "node": draw.choice(wish.nodes) if wish.nodes and draw.random() < wish.pinned else "",
        "project": draw.choice(wish.projects) if wish.projects and draw.random() < wish.coded else "",
    }
    if kind == "chord":
        return tuple(_quick(draw, **where) for _ in range(CHORD_PARTS + 1)), "chord"
    if kind == "chain":
        return tuple(_quick(draw, **where) for _ in range(2)), "chain"
    if kind == "slow":
        habit = (draw.choice(wish.habits),) if wish.habits else ()
        return (Part((round(draw.uniform(1, 4), 2),), habits=habit, **where),), "single"
    if kind == "failing":
        return (Part((round(draw.uniform(0, 0.3), 2),), (3,), **where),), "single"
    if kind == "retried":
        return (Part((0.1, 0.0), (3, 0), retries=2, **where),), "single"
    return (_quick(draw, **where),), "single"


def _quick(draw: random.Random, **where: Any) -> Part:
    return Part((round(draw.uniform(0, 0.1), 3),), **where)
