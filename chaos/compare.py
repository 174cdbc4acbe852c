"""The same storms over plain Celery and over us: what each did to its runs, side by side.

The same seed gives both the same plan and the same strikes: only parts that both have are struck, by kinds that can
strike both.
"""

from __future__ import annotations

import datetime as dt
import json
import platform
import shutil
import tempfile
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chaos import beds, forms
from chaos.nemeses import kinds
from chaos.plan import Wish
from chaos.storm import Storm, Weather
from chaos.tally import Tally, tally

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from chaos.beds.bed import Bed
    from chaos.nemeses.kind import Kind
    from chaos.storm import Report

BEDS = {"plain": "plain Celery", "one": "infra_tasks"}
NODE = "n1"
PARTS = ("redis", "worker", "children")
NEMESES = (1, 2, 3, 4)
RATE = 5.0
"""Runs handed in per second: what either bed can do on a machine that is busy with something else."""
STRIKE_EVERY_S = 12.0
"""Time to come back in between: what is dead cannot be struck."""
HABITS = forms.HABITS_ANYWHERE
"""Without `kill-parent`: plain Celery starts such a command again for ever, and nothing else would be seen."""
COLUMNS = {
    "accepted": "accepted",
    "lost": "lost",
    "chord bodies that never came": "chord_bodies_missing",
    "done again, unharmed": "done_again_unharmed",
    "done again, in all": "done_again",
    "alive twice at once": "at_once",
    "active after their end": "after_end",
    "wrong end": "wrong_end",
    "queues left deaf": "deaf",
    "longest wait": "longest_s",
}


@dataclass(frozen=True)
class Outcome:
    """One storm over one bed: which strikes, what it counted, whether the checker found anything."""

    nemesis: int
    bed: str
    strikes: tuple[str, ...]
    tally: Tally
    broken: dict[str, int]

    def row(self) -> list[str]:
        """Return it as a row of the table."""
        said = asdict(self.tally)
        cells = {title: str(said[name]) for title, name in COLUMNS.items()}
        if self.tally.lost:
            kinds_of = ", ".join(f"{count} {state}" for state, count in self.tally.lost_as.items())
            cells["lost"] += f" ({kinds_of})"
        if self.tally.asked_again:
            cells["done again, in all"] += f" ({self.tally.asked_again} asked for twice)"
        cells["chord bodies that never came"] += f" of {self.tally.chords}"
        cells["longest wait"] += " s"
        return [f"{self.nemesis} {forms.NEMESES[self.nemesis]}", BEDS[self.bed], *cells.values()]


def compare(numbers: Sequence[int], seed: int, runs: int, tell: Callable[[str], object]) -> tuple[Outcome, ...]:
    """Let each nemesis strike both systems, one after the other."""
    chosen = {number: kinds_of_both(number) for number in numbers or NEMESES}
    return tuple(
        _storm(number, bed, struck, Wish(runs, runs / RATE, nodes=(NODE,), habits=HABITS), seed, tell)
        for number, struck in chosen.items()
        if struck
        for bed in BEDS
    )


def kinds_of_both(number: int) -> tuple[Kind, ...]:
    """Return the kinds of a nemesis that can strike both systems."""
    ours, theirs = ({one.name: one for one in kinds(bed, {number})} for bed in ("one", "plain"))
    return tuple(kind for name, kind in ours.items() if name in theirs)


def _storm(
    number: int, name: str, struck: tuple[Kind, ...], wish: Wish, seed: int, tell: Callable[[str], object]
) -> Outcome:
    tell(f"nemesis {number}, {BEDS[name]}: {', '.join(one.name for one in struck)}")
    folder = Path(tempfile.mkdtemp(prefix=".infra-chaos-", dir=Path.home()))
    bed = beds.make(name, folder)
    try:
        bed.up()
        storm = Storm(bed, Weather(seed, struck, wish, round(wish.span_s / STRIKE_EVERY_S), parts=PARTS), tell)
        outcome = _outcome(number, name, bed, storm, storm.run())
        _keep(folder, bed, outcome)
    finally:
        bed.close()
    tell(f"{outcome.tally}\nbroken: {outcome.broken}; see {folder}")
    if not outcome.broken:
        shutil.rmtree(folder, ignore_errors=True)
    return outcome


def _outcome(number: int, name: str, bed: Bed, storm: Storm, report: Report) -> Outcome:
    without_end = [run for run, end in storm.story.ends.items() if end is None]
    counted = tally(storm.story, storm.strain, bed.states(without_end))
    return Outcome(number, name, tuple(map(str, report.strikes)), counted, report.counts())


def _keep(folder: Path, bed: Bed, outcome: Outcome) -> None:
    """What is needed to look into it later."""
    (folder / "outcome.json").write_text(json.dumps(asdict(outcome), indent=2))
    (folder / "last.log").write_text(bed.logs())


def as_table(outcomes: Sequence[Outcome]) -> str:
    """Return the outcomes as a table in Markdown."""
    heads = ["nemesis", "system", *COLUMNS]
    rows = [heads, ["---"] * len(heads), *(one.row() for one in outcomes)]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def measured_with(seed: int, runs: int, server: str) -> str:
    """Return with what, where and when this was measured."""
    parts = ", ".join(f"{name} {version(name)}" for name in ("celery", "kombu", "billiard", "redis"))
    today = dt.datetime.now(dt.UTC).date()
    where = f"Redis server {server}, Python {platform.python_version()}, {platform.system()} {platform.machine()}"
    storms = f"{runs} runs and {round(runs / RATE / STRIKE_EVERY_S)} strikes per storm"
    return f"seed {seed}, {storms}, {today}; {parts}, {where}"


def redis_version() -> str:
    """Return the version of the server both use."""
    from workers.redis_binary import dotted, find_binary

    return dotted(find_binary().version)


def as_json(outcomes: Sequence[Outcome], said: str) -> dict[str, Any]:
    """Return everything there is to know of the outcomes."""
    return {"measured_with": said, "outcomes": [asdict(one) for one in outcomes]}
