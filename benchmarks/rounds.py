"""How things are measured here: ours and floor in turns, so that a noisy machine disturbs both, and medians."""

from __future__ import annotations

import math
import statistics
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


def timed(call: Callable[[], object]) -> float:
    """Return how many seconds a call takes."""
    begin = time.perf_counter()
    call()
    return time.perf_counter() - begin


def in_turns(rounds: int, ours: Callable[[], float], floor: Callable[[], float]) -> tuple[list[float], list[float]]:
    """Measure both, one after the other, the first one changing from round to round."""
    seen: tuple[list[float], list[float]] = ([], [])
    for number in range(rounds):
        both = [(seen[0], ours), (seen[1], floor)]
        for values, measure in both if number % 2 else reversed(both):
            values.append(measure())
    return seen


median = statistics.median


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value below which this share of all values lies."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, math.ceil(share * len(ordered)) - 1)]
