"""Phases of a run as a picture: a bar for each, one below the other, on one scale of time. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from infra_tasks.cli import spans
from infra_tasks.cli.printing import BETWEEN

if TYPE_CHECKING:
    from collections.abc import Sequence

    from infra_tasks.cli.phases import Phase

NARROWEST_BARS = 8
WIDEST_BARS = 100
MOST_ROWS = 24
SIGNS = {"waiting": "░", "sync": "▓", "queue": "▒", "run": "█", "kill": "▚", "pause": "·"}
ASCII_SIGNS = {"waiting": ".", "sync": "~", "queue": "-", "run": "#", "kill": "x", "pause": ":"}
LIMIT, ASCII_LIMIT = "┃", "|"


class Row(NamedTuple):
    """One line of the picture: `label`, `before` the bar, the bar, `behind` it, and words; `kind` gives the colour."""

    label: str
    before: str
    bar: str
    behind: str
    words: str
    kind: str


class _Scale(NamedTuple):
    began_at: float
    span_s: float
    columns: int

    def column(self, moment: float) -> int:
        """Return the column in which a moment lies; the last one for what comes later."""
        at = (moment - self.began_at) / self.span_s * self.columns if self.span_s else 0
        return max(0, min(self.columns, round(at)))

    def limit_of(self, phase: Phase) -> int | None:
        """Return the column of a phase's limit, None when it lies outside of the picture."""
        if phase.limit_s is None or phase.began_at + phase.limit_s > self.began_at + self.span_s:
            return None
        return min(self.column(phase.began_at + phase.limit_s), self.columns - 1)


def picture(phases: Sequence[Phase], *, now: float, width: int, ascii_only: bool = False) -> list[Row]:
    """Return the lines of the picture, `width` columns at most (40 at least), the scale last. Nothing of nothing."""
    if not phases:
        return []
    several = any(phase.attempt > 1 for phase in phases)
    labels = [_label(phase, several=several) for phase in phases]
    words = [_words(phase, now) for phase in phases]
    end = "now" if phases[-1].ended_at is None else spans.words(phases[-1].until(now) - phases[0].began_at)
    first, last = max(map(len, labels)), max(map(len, words))
    columns = max(NARROWEST_BARS, min(WIDEST_BARS, width - first - last - 2 * len(BETWEEN)))
    scale = _Scale(phases[0].began_at, phases[-1].until(now) - phases[0].began_at, columns)
    rows = [
        Row(label.ljust(first), *_bar(phase, scale, now, ascii_only=ascii_only), said, phase.kind)
        for phase, label, said in zip(phases, labels, words, strict=True)
    ]
    axis = "0s" + end.rjust(columns - len("0s"))
    return [*_fewer(rows), Row(" " * first, "", axis, "", "", "scale")]


def _label(phase: Phase, *, several: bool) -> str:
    return f"{phase.kind} {phase.attempt}" if several and phase.kind in {"run", "kill"} else phase.kind


def _words(phase: Phase, now: float) -> str:
    took = spans.words(phase.until(now) - phase.began_at)
    limit = f" of {spans.words(phase.limit_s)}" if phase.limit_s is not None else ""
    return f"{took}{limit}{' so far' if phase.ended_at is None else ''}"


def _bar(phase: Phase, scale: _Scale, now: float, *, ascii_only: bool) -> tuple[str, str, str]:
    """Return what is before the bar, the bar, and what is behind it: one column at least, however short it was."""
    begin = min(scale.column(phase.began_at), scale.columns - 1)
    end = max(begin + 1, scale.column(phase.until(now)))
    limit = scale.limit_of(phase)
    if limit is not None:
        end = max(begin + 1, min(end, limit))
    behind = [" "] * (scale.columns - end)
    if limit is not None and behind:
        behind[max(0, limit - end)] = ASCII_LIMIT if ascii_only else LIMIT
    sign = (ASCII_SIGNS if ascii_only else SIGNS)[phase.kind]
    return " " * begin, sign * (end - begin), "".join(behind)


def _fewer(rows: list[Row]) -> list[Row]:
    """Leave out the middle of a long story."""
    left_out = len(rows) - MOST_ROWS
    if left_out <= 1:
        return rows
    half = MOST_ROWS // 2
    return [*rows[:half], Row(f"({left_out} more)", "", "", "", "", "scale"), *rows[-half:]]
