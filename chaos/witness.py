"""Sees from outside when a run was final, and as what."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from chaos.clock import now
from chaos.notes import Seen, read_handed

if TYPE_CHECKING:
    from pathlib import Path

    from chaos.beds.bed import Bed
    from chaos.notes import Handed
    from chaos.plan import Item

LOOK_EVERY_S = 0.5


class Witness:
    """Looks again and again, in a thread, at what was accepted and is not final yet."""

    def __init__(self, bed: Bed, handed: Path, items: list[Item]) -> None:
        self._bed, self._file, self._items = bed, handed, items
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self.seen: dict[str, Seen] = {}

    def begin(self) -> Witness:
        self._thread.start()
        return self

    def end(self) -> None:
        self._over.set()
        self._thread.join()

    def handed(self) -> tuple[Handed, ...]:
        """What was handed in up to now."""
        return read_handed(self._file, self._items)

    def look(self) -> list[str]:
        """Look once; return the accepted runs that are not final yet. Raises while Redis does not answer."""
        runs = [run for one in self.handed() for run in one.ids]
        open_ones = [run for run in runs if run not in self.seen]
        ends = self._bed.ends(open_ones)
        at = now()
        self.seen.update({run: Seen(end, at) for run, end in ends.items() if end is not None})
        return [run for run in open_ones if run not in self.seen]

    def _watch(self) -> None:
        while not self._over.wait(LOOK_EVERY_S):
            try:
                self.look()
            except Exception:  # noqa: BLE001  Redis is being struck; it is looked at again
                continue
