"""Asks many runs to stop: in pieces of bounded size, one round trip each, however many runs there are."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from infra_tasks.errors import UnknownRun
from infra_tasks.ledger import ending
from infra_tasks.model.run import State

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from infra_tasks.ledger.records import Run
    from infra_tasks.ledger.runs import Runs
    from infra_tasks.ledger.scripts import Scripts

# Runs a round trip: some milliseconds of Redis' time.
PIECE = 250
FIELDS = (*ending.FIELDS, "project", "cancel")
CAUSE = "cancelled"


@dataclass(frozen=True)
class Asked:
    """What became of one run: the state it is in now. `new`: it was this call that changed something."""

    id: str
    state: str
    new: bool


class Cancelling:
    """Cancels in bulk."""

    def __init__(self, scripts: Scripts, runs: Runs) -> None:
        self._scripts = scripts
        self._redis = scripts.client
        self._runs = runs

    def live(self, until: float) -> Iterator[list[Run]]:
        """Give the runs that are not final, with their `FIELDS`, in pieces and in no order.

        What was submitted after `until` (wall seconds) is left out; what stays live all the time is never passed over,
        and may come twice.
        """
        cursor = 0
        while True:
            cursor, found = self._scan(cursor)
            yield self._runs.some([run_id for run_id, at in found if at <= until], FIELDS)
            if cursor == 0:
                return

    def _scan(self, cursor: int) -> tuple[int, list[tuple[str, float]]]:
        key = self._scripts.key("live")
        said: tuple[int, list[tuple[str, float]]] = self._scripts.persistently(
            lambda: self._redis.zscan(key, cursor, count=PIECE)
        )
        return said

    def cancel(
        self, runs: Sequence[Run], *, actor: str, kill: bool = False, only_waiting: bool = False
    ) -> Iterator[list[Asked]]:
        """Ask runs (with their `FIELDS`) to stop, and give what became of them, piece by piece.

        Raises FleetUnreachable (asking again is safe), SafeMode.
        """
        for first in range(0, len(runs), PIECE):
            piece = runs[first : first + PIECE]
            yield list(self._cancel_piece(piece, actor=actor, kill=kill, only_waiting=only_waiting))

    def _cancel_piece(self, runs: Sequence[Run], *, actor: str, kill: bool, only_waiting: bool) -> Iterator[Asked]:
        now = time.time()
        calls = [
            {
                **ending.end_of(run, State.REVOKED, None, CAUSE, now),
                "actor": actor,
                "kill": kill,
                "only_waiting": only_waiting,
                "nonce": uuid4().hex,
            }
            for run in runs
        ]
        for run, said in zip(runs, self._scripts.call_many("cancel", calls), strict=True):
            one = self._asked(run, json.loads(said), actor=actor, kill=kill, only_waiting=only_waiting)
            if one:
                yield one

    def _asked(self, run: Run, said: dict[str, Any], *, actor: str, kill: bool, only_waiting: bool) -> Asked | None:
        if said["said"] == "unknown":
            return None
        if said["said"] == "asked":
            return Asked(run.id, said["state"], new=not run.cancel or (kill and run.cancel != "kill"))
        if said["said"] == "final":
            return Asked(run.id, said["state"], new=bool(said["new"]))
        if said["said"] == "again" and only_waiting:
            return Asked(run.id, said["state"], new=False)
        try:  # it moved meanwhile, or the ledger is in safe mode: one by one, with patience
            state = self._runs.cancel(run.id, actor=actor, kill=kill, only_waiting=only_waiting)
        except UnknownRun:
            return None
        return Asked(run.id, state, new=True)
