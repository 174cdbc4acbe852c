"""Waits for the ends of many runs: asks the ledger for the states of those that have not ended, and nothing else."""

from __future__ import annotations

import threading
import time
from functools import partial
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING

from infra_tasks.cli.lookout import Lookout
from infra_tasks.ledger.records import Run

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from infra_tasks.ledger import Ledger
    from infra_tasks.settings import Home

LOOK_EVERY_S = 0.2
# Of a core: a thousand runs are asked for a few times a second, ten thousand every few seconds.
LOOKING_SHARE = 0.03
# Whole records read in one round trip: results may be large.
PIECE = 100
# A run that is not in the ledger any more has no fields at all.
GONE = "GONE"


class Ends:
    """`left`: how many have not ended, by state, as it was seen last. `away`: the fleet does not answer now."""

    def __init__(self, home: Home, ids: Sequence[str]) -> None:
        self.left: dict[str, int] = {}
        self.count_left = len(ids)
        self._pending = list(ids)
        self._ended: SimpleQueue[Run] = SimpleQueue()
        self._news = threading.Event()
        self._lookout = Lookout(
            home, lambda ledger: partial(self._look, ledger), self._news.set, every_s=LOOK_EVERY_S, share=LOOKING_SHARE
        )

    def start(self) -> None:
        """Begin to look, in a thread of its own."""
        self._lookout.start()

    @property
    def away(self) -> bool:
        """The fleet does not answer now."""
        return self._lookout.silent_s(time.monotonic()) > 0

    def come(self, within_s: float, pause_s: float, between: Callable[[], object]) -> Iterator[Run]:
        """Yield every run that has ended, whole, until none is left or the time is over.

        `between` is called every `pause_s` seconds or sooner. Runs with no fields are not in the ledger any more.
        """
        deadline = time.monotonic() + within_s
        while self.count_left:
            left_s = deadline - time.monotonic()
            self._news.wait(max(0.0, min(pause_s, left_s)))
            self._news.clear()
            for run in self._told():
                self.count_left -= 1
                yield run
            between()
            if left_s <= 0:
                return

    def _told(self) -> Iterator[Run]:
        while True:
            try:
                yield self._ended.get_nowait()
            except Empty:
                return

    def _look(self, ledger: Ledger) -> None:
        states = {run.id: run for run in ledger.runs.some(self._pending, ("state",))}
        over = [run_id for run_id in self._pending if run_id not in states or states[run_id].final]
        left = [run_id for run_id in self._pending if run_id in states and not states[run_id].final]
        counts: dict[str, int] = {}
        for run_id in left:
            counts[states[run_id].state] = counts.get(states[run_id].state, 0) + 1
        ended = self._whole(ledger, over)
        self._pending, self.left = left, counts
        for run in ended:
            self._ended.put(run)

    @staticmethod
    def _whole(ledger: Ledger, ids: Sequence[str]) -> list[Run]:
        found: dict[str, Run] = {}
        for first in range(0, len(ids), PIECE):
            found.update({run.id: run for run in ledger.runs.get_many(ids[first : first + PIECE])})
        return [found.get(run_id) or Run(run_id, {}) for run_id in ids]
