"""The agent's side of outputs: those of attempts nobody waits for are gathered in threads, one for each attempt.

That may take minutes (a home far away, a large file), and neither the agent's turn nor another run's end must wait for
it. An end is reported in any case: what cannot be gathered is reported as such.
"""

from __future__ import annotations

import logging
import time
from threading import Thread
from typing import TYPE_CHECKING

from infra_tasks.errors import FleetUnreachable
from infra_tasks.gather import Gathered, asks, gather, given_up

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from infra_tasks.ledger import Ledger
    from infra_tasks.live import LiveAttempt, Token
    from infra_tasks.node import ThisNode

MAX_FAILURES = 3
# A worker that has gathered reports at once; what is not reported after this long, it does not report any more.
OTHERS_REPORT_WITHIN_S = 1.0
# Seldom more than a node has slots; most of the time they wait for another node.
GATHERINGS_AT_ONCE = 16

log = logging.getLogger("infra_tasks.agent")


class Gatherer:
    """Knows of each ended attempt whether its outputs are gathered, and sees to it that they are."""

    def __init__(self, here: Callable[[], ThisNode], ledger: Ledger) -> None:
        self._here = here
        self._ledger = ledger
        self._done: dict[Token, Gathered] = {}
        self._failures: dict[Token, int] = {}
        self._threads: dict[Token, Thread] = {}

    def keep(self, known: Iterable[Token]) -> None:
        """Forget what is not live any more."""
        known = set(known)
        self._threads = {token: thread for token, thread in self._threads.items() if thread.is_alive()}
        for kept in (self._done, self._failures):
            for token in kept.keys() - known - self._threads.keys():
                del kept[token]

    def gathered(self, one: LiveAttempt) -> Gathered | None:
        """Return what is to be reported of an ended attempt's outputs; None: not yet, ask again in the next turn."""
        done = self._done.get(one.token)
        if done is not None:
            return done
        if not asks((one.folder.record() or {}).get("fields") or {}):
            return Gathered()
        if one.token not in self._threads and len(self._threads) < GATHERINGS_AT_ONCE:
            self._threads[one.token] = Thread(target=self._gather, args=(one,), name="gather", daemon=True)
            self._threads[one.token].start()
        return None

    def _gather(self, one: LiveAttempt) -> None:
        try:
            done = gather(self._here(), self._ledger, one.token, one.folder)
        except FleetUnreachable:
            return  # nothing can be reported now anyway
        except Exception:
            log.exception("outputs of run %s attempt %d could not be gathered", one.token.run, one.token.attempt)
            self._failures[one.token] = self._failures.get(one.token, 0) + 1
            if self._failures[one.token] < MAX_FAILURES:
                return
            done = given_up(self._here(), one.folder, "they could not be gathered; the agent's log says why")
        if done is not None and time.time() - (done.by_others_at or 0) > OTHERS_REPORT_WITHIN_S:
            self._done[one.token] = done
