"""What a kind of strike is, and the scene it strikes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from chaos.absences import RECOVERS_S, Away, absences, behind_a_lease
from chaos.checker import Strain, Thaw
from chaos.clock import now

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from chaos.beds.bed import Bed
    from chaos.strikes import Strike

    Undo = Callable[[], object]


class Missed(Exception):
    """There was nothing to strike."""


OF_REDIS = (3, 4)
"""The nemeses that strike Redis, and so every node."""
NOTE_THEMSELVES = (5, 7)
"""The nemeses that note who is away, and for how long."""


@dataclass
class Cost:
    """What the strikes of a storm were allowed to cost, noted while they struck."""

    harmed: set[tuple[str, int]] = field(default_factory=set)
    away: list[Away] = field(default_factory=list)
    struck: list[Away] = field(default_factory=list)
    thawed: list[Thaw] = field(default_factory=list)
    leaps: list[float] = field(default_factory=list)
    redis_off_by_s: int = 0
    forgotten: list[tuple[float, float]] = field(default_factory=list)
    reasons: set[str] = field(default_factory=set)
    cancelled: set[str] = field(default_factory=set)

    def strain(self, within_s: float | None) -> Strain:
        """Return it for the checker."""
        return Strain(
            frozenset(self.harmed),
            absences(self.away, self.struck, self.leaps),
            behind_a_lease(self.thawed, self.away, self.leaps),
            tuple(self.forgotten),
            frozenset(self.reasons),
            within_s,
            frozenset(self.cancelled),
        )

    def was_struck(self, kind: Kind, strike: Strike) -> None:
        """Note that a node is struck now, or all are as their Redis is."""
        if kind.number in NOTE_THEMSELVES:
            return
        node = "" if kind.number in OF_REDIS or strike.target == "redis" else strike.node
        self.struck.append(Away(node, now(), now() + strike.for_s + RECOVERS_S))

    def was_away(self, node: str, since: float, *, frozen: bool = False) -> None:
        """Note that a node was cut off, or frozen, until now."""
        self.away.append(Away(node, since, now(), frozen))

    def thaws(self, node: str, since: float) -> None:
        """Note that a node is thawed now."""
        self.thawed.append(Thaw(node, since, now()))

    def turned_redis(self, by_s: int) -> None:
        """Note that the clock of Redis is off by so much now: a step ahead shortens every lease."""
        if by_s > self.redis_off_by_s:
            self.leaps.append(now())
        self.redis_off_by_s = by_s


@dataclass
class Scene:
    """What a strike finds: the bed, a folder for what it must keep, and where it notes what it may cost."""

    bed: Bed
    folder: Path
    cost: Cost = field(default_factory=Cost)


@dataclass(frozen=True)
class Kind:
    """One kind of strike.

    `inflict` does it and returns how it is undone, or None when nothing is to be undone. `number`: of the nemesis it
    belongs to (docs/chaos.md). `targets`: parts of a bed, or words only `inflict` knows. `lasts_s`: from, to.
    `beds`: where it can strike: one, one-small, three, plain. `why_not` says why it cannot be done on this machine.
    `keeps_away`: a node may be silent for longer than a lease. `forgets`: the ledger goes back to what it knew before.
    """

    name: str
    number: int
    inflict: Callable[[Scene, Strike], Undo | None]
    targets: tuple[str, ...] = ("",)
    lasts_s: tuple[float, float] | None = None
    beds: frozenset[str] = frozenset({"one", "three", "plain"})
    why_not: Callable[[], str] = str
    keeps_away: bool = False
    forgets: bool = False
