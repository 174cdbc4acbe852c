"""Exports old runs beside the agent's other duties: a disk that is slow holds up no heartbeat."""

from __future__ import annotations

import logging
from threading import Thread
from typing import TYPE_CHECKING

from infra_tasks.errors import FleetUnreachable
from infra_tasks.history.export import Export

if TYPE_CHECKING:
    from infra_tasks.ledger import Ledger
    from infra_tasks.node import ThisNode

LOOK_EVERY_S = 10.0
# Two hundred runs a batch: a million is exported in less than an hour, and nobody else waits for it.
BATCHES_A_LOOK = 20

log = logging.getLogger("infra_tasks.agent")


class Archiving:
    """Looks now and then, in a thread, whether something has left the history and whether that is this node's duty."""

    def __init__(self, ledger: Ledger) -> None:
        self._export = Export(ledger)
        self._due = 0.0
        self._thread: Thread | None = None
        self._failed = ""

    def run_once(self, me: ThisNode, now: float) -> None:
        """Begin a look, if it is time and the last one is over. `now`: monotonic seconds."""
        if now < self._due or (self._thread is not None and self._thread.is_alive()):
            return
        self._due = now + LOOK_EVERY_S
        self._thread = Thread(target=self._look, args=(me,), name="archive", daemon=True)
        self._thread.start()

    def _look(self, me: ThisNode) -> None:
        try:
            if self._export.is_mine(me):
                gone = self._some_batches(me)
                if gone:
                    log.info("%d runs left the history%s", gone, " for the archive" if me.fleet.archive else "")
            self._failed = ""
        except FleetUnreachable:
            return  # the agent says so
        except Exception as error:
            if str(error) != self._failed:
                log.exception("old runs could not be exported; none of them is forgotten, and it is tried again")
            self._failed = str(error)

    def _some_batches(self, me: ThisNode) -> int:
        gone = 0
        for _ in range(BATCHES_A_LOOK):
            went = self._export.batch(me)
            gone += went
            if not went:
                break
        return gone
