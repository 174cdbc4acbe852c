"""The two forms of the suite: short (a part of the tests) and long (`make chaos`); storms of one nemesis or mixed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from chaos.nemeses import kinds
from chaos.plan import Wish
from chaos.storm import Storm, Weather

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from pathlib import Path

    from chaos.beds.bed import Bed
    from chaos.nemeses.kind import Kind

HABITS_ANYWHERE = ("", "child", "deaf")
HABITS = (*HABITS_ANYWHERE, "kill-parent")
"""Of commands: under plain Celery there is no shim to be killed."""

NEMESES = {
    1: "kill -9",
    2: "SIGSTOP",
    3: "Redis",
    4: "broker wiped",
    5: "cut links",
    6: "no room",
    7: "clocks, suspend",
    8: "code, canvas, upgrade",
}


@dataclass(frozen=True)
class Form:
    """One storm: the bed, the nemeses (none: all that can strike it), runs, runs a second, seconds a strike.

    `without`: kinds that are left out.
    """

    bed: str
    nemeses: tuple[int, ...]
    runs: int
    rate: float = 12.0
    strike_every_s: float = 5.0
    without: tuple[str, ...] = ()

    @property
    def span_s(self) -> float:
        """How long it is handed in."""
        return self.runs / self.rate

    @property
    def strikes(self) -> int:
        """How many strikes come down meanwhile."""
        return max(1, round(self.span_s / self.strike_every_s))


SHORT = (
    Form("one", (), 500, without=("freeze-long", "freeze-at-order")),
    Form("three", (5, 7), 240, strike_every_s=3.0, without=("swizzle-long",)),
)
LONG = (
    *(Form("one", (number,), 2000) for number in (1, 2, 3, 4, 8)),
    Form("one-small", (6,), 2000),
    Form("one", (), 2000),
    *(Form("three", (number,), 2000) for number in (1, 2, 3, 5, 7, 8)),
    Form("three", (), 2000),
)


def storm(
    form: Form,
    bed: Bed,
    seed: int,
    *,
    tell: Callable[[str], object],
    names: Collection[str] = (),
    within_s: float | None = None,
    folder: Path | None = None,
) -> Storm:
    """Return the storm of a form over a bed. `names`: of kinds, if not all; for the rest see `Weather` and `Storm`."""
    wanted = [one for one in kinds(form.bed, set(form.nemeses), set(names)) if one.name not in form.without]
    why_not = {one: one.why_not() or _why_not_beside(one, wanted, bed) for one in wanted}
    chosen = tuple(one for one in wanted if not why_not[one])
    for one, why in why_not.items():
        if why:
            tell(f"{one.name} is left out: {why}")
    of = ", ".join(one.name for one in chosen)
    tell(f"seed {seed}, bed {form.bed}: {form.runs} runs, {form.strikes} strikes in {form.span_s:.0f} s of {of}")
    habits = HABITS_ANYWHERE if form.bed == "plain" else HABITS
    wish = Wish(form.runs, form.span_s, nodes=bed.nodes, projects=tuple(bed.sources), habits=habits)
    return Storm(bed, Weather(seed, chosen, wish, form.strikes, within_s), tell, folder=folder)


def _why_not_beside(one: Kind, others: Collection[Kind], bed: Bed) -> str:
    """Say why a kind cannot strike beside others, or nothing.

    Who is away for longer than safe mode lasts cannot say what it did for a ledger that forgot it: another node does
    that again, as promised, and nothing could be told by it.
    """
    keeps_away = [other.name for other in others if other.keeps_away]
    if one.forgets and keeps_away and len(bed.nodes) > 1:
        return f"what a node did is done again by another if it is away meanwhile ({', '.join(keeps_away)})"
    return ""
