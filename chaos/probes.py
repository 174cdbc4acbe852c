"""Finds out how soon every queue consumes again after the last strike.

A queue of runs has: its probe began, or so many others that one of them must have been taken from it. The queue that a
run of a project goes through first: its probe has left it. A queue that holds no runs: a tick sent there was taken.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from chaos.clock import now
from chaos.notes import read_handed, read_notes
from chaos.plan import Item, Part

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from chaos.beds.bed import Bed

ANYWHERE = "any node"
TICK_EVERY_S = 2.0
"""As beat does it: a tick that died with whoever had just taken it is no deaf queue."""
NOT_DISPATCHED = frozenset({"UNKNOWN", "PENDING", "SYNCING"})


class Probes:
    """The probes of one storm, made when all is healed. `items` are to be handed in; `noted`: where that is noted."""

    def __init__(self, bed: Bed, effects: Path, noted: Path) -> None:
        self._bed, self._effects, self._noted = bed, effects, noted
        self._healed = now()
        self._nodes = {ANYWHERE: "", **{node: node for node in bed.nodes}}
        parts = {where: Part((0.0,), node=node) for where, node in self._nodes.items()}
        if bed.dispatches:
            parts[bed.dispatches] = Part((0.0,), node=bed.nodes[0], project=min(bed.sources))
        self._of = list(parts)
        self.items = [Item(number, 0.0, "single", (part,)) for number, part in enumerate(parts.values())]
        self._ticks: dict[str, list[Callable[[], bool]]] = defaultdict(list)
        self._ticked_at = 0.0
        self._seen: dict[str, float] = {}

    def answered(self) -> bool:
        """Look once, and send ticks when it is time; say whether every queue has consumed."""
        runs = {self._of[one.item.number]: one.ids[0] for one in read_handed(self._noted, self.items) if one.sure}
        for look in (self._begun, self._dispatched, self._taken):
            for queue, at in look(runs):
                self._seen.setdefault(queue, at)
        if now() > self._ticked_at + TICK_EVERY_S:
            self._send_ticks()
        return None not in self.consumed_after_s().values()

    def consumed_after_s(self) -> dict[str, float | None]:
        """Return how long after the last strike each queue was seen to consume; None: never."""
        queues = [*self._of, *self._bed.ticked]
        return {queue: self._seen[queue] - self._healed if queue in self._seen else None for queue in queues}

    def _begun(self, runs: dict[str, str]) -> Iterator[tuple[str, float]]:
        """One hint for each slot may have been in hand before; the next one must have been taken from the queue."""
        begun = [one for one in read_notes(self._effects) if one.what == "start" and one.at > self._healed]
        for where, node in self._nodes.items():
            there = sorted(one.at for one in begun if node in ("", one.node))
            in_hand = self._bed.slots * (1 if node else len(self._bed.nodes))
            its_own = [one.at for one in begun if one.run == runs.get(where)]
            if moments := [*there[in_hand : in_hand + 1], *its_own]:
                yield where, min(moments)

    def _dispatched(self, runs: dict[str, str]) -> Iterator[tuple[str, float]]:
        run = runs.get(self._bed.dispatches)
        if run and self._bed.dispatches not in self._seen and self._state(run) not in NOT_DISPATCHED:
            yield self._bed.dispatches, now()

    def _state(self, run: str) -> str:
        try:
            return self._bed.states([run])[run]
        except Exception:  # noqa: BLE001  Redis may still be coming back
            return "UNKNOWN"

    def _taken(self, _runs: dict[str, str]) -> Iterator[tuple[str, float]]:
        for queue, ticks in self._ticks.items():
            if queue not in self._seen and any(map(_says_yes, ticks)):
                yield queue, now()

    def _send_ticks(self) -> None:
        self._ticked_at = now()
        for queue in self._bed.ticked:
            if queue not in self._seen:
                try:
                    self._ticks[queue].append(self._bed.tick(queue))
                except Exception:  # noqa: BLE001  Redis may still be coming back; the next one gets through
                    return


def _says_yes(tick: Callable[[], bool]) -> bool:
    try:
        return tick()
    except Exception:  # noqa: BLE001  Redis may still be coming back
        return False
