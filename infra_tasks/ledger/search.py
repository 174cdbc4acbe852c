"""Looks through the newest runs for those that are wanted: in bounded pieces, reading only what a row needs."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from math import inf
from typing import TYPE_CHECKING

from infra_tasks.ledger.records import Run

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from infra_tasks.ledger.runs import Runs
    from infra_tasks.ledger.scripts import Scripts

# Runs a round trip.
PIECE = 500
# Runs a search looks through at most: a second or so.
LOOKED_THROUGH = 20_000
# What tells whether a run is wanted, and how it is. Specs and results, which may be large, are not among it.
FIELDS = (
    "state", "node", "claim_node", "project", "name", "attempt", "cancel", "reason",
    "submitted_at", "claimed_at", "ended_at",
)  # fmt: skip


@dataclass(frozen=True)
class Found:
    """The runs that were wanted, newest first, with their `FIELDS`. `looked`: how many were looked at.

    `complete` False: the search ended before the history did, so there may be more.
    """

    runs: list[Run]
    looked: int
    complete: bool


class Search:
    """Searches again and again cost less: a final run is read once."""

    def __init__(self, scripts: Scripts, runs: Runs) -> None:
        self._scripts = scripts
        self._redis = scripts.client
        self._runs = runs
        self._final: dict[str, Run] = {}

    def newest(
        self,
        fits: Callable[[Run], bool],
        limit: int,
        *,
        since: float = 0.0,
        live_only: bool = False,
        most: int = LOOKED_THROUGH,
    ) -> Found:
        """Return the newest runs that fit, submitted after `since` (wall seconds); `most` are looked at."""
        found: dict[str, Run] = {}
        final: dict[str, Run] = {}
        looked, reached = 0, inf
        for piece, reached in self._pieces("live" if live_only else "recent", most):
            runs = self._read(piece)
            looked += len(piece)
            final.update({run.id: run for run in runs if run.final})
            found.update({run.id: run for run in runs if (run.at("submitted_at") or 0) >= since and fits(run)})
            if len(found) >= limit or reached < since:
                break
        self._final = final
        complete = len(found) >= limit or reached < since or looked < most
        return Found(list(found.values())[:limit], looked, complete)

    def _pieces(self, index: str, most: int) -> Iterator[tuple[list[str], float]]:
        """Give ids, newest first, and when the last of them was submitted. New runs move the rest: some come twice."""
        key = self._scripts.key(index)
        for first in range(0, most, PIECE):
            last = min(first + PIECE, most) - 1
            piece = self._scripts.persistently(partial(self._redis.zrevrange, key, first, last, withscores=True))
            if piece:
                yield [run_id for run_id, _ in piece], float(piece[-1][1])
            if len(piece) < last + 1 - first:
                return

    def _read(self, ids: Sequence[str]) -> list[Run]:
        fresh = {run.id: run for run in self._runs.some([one for one in ids if one not in self._final], FIELDS)}
        return [run for one in ids if (run := fresh.get(one) or self._final.get(one))]


class Details:
    """The whole records of runs that are shown again and again: each is read once, and once more when it has ended."""

    def __init__(self, runs: Runs) -> None:
        self._runs = runs
        self._known: dict[str, Run] = {}

    def of(self, runs: Sequence[Run]) -> list[Run]:
        """Return runs with all their fields, as they are now. Others are forgotten."""
        stale = [run.id for run in runs if not self._is_known(run)]
        read = {run.id: run for run in self._runs.get_many(stale)} if stale else {}
        known = {**self._known, **read}
        self._known = {
            run.id: Run(run.id, {**known[run.id].fields, **run.fields}) if run.id not in read else read[run.id]
            for run in runs
            if run.id in known
        }
        return list(self._known.values())

    def _is_known(self, run: Run) -> bool:
        known = self._known.get(run.id)
        return known is not None and known.final == run.final
