"""The agent's side of outputs: those of attempts nobody waits for are gathered in a thread, one attempt at a time.

That may take minutes, and the agent's turn must not wait for it. An end is reported in any case: what cannot be
gathered is reported as such.
"""

from __future__ import annotations

import logging
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

log = logging.getLogger("infra_tasks.agent")


class Gatherer:
    """Knows of each ended attempt whether its outputs are gathered, and sees to it that they are."""

    def __init__(self, here: Callable[[], ThisNode], ledger: Ledger) -> None:
        self._here = here
        self._ledger = ledger
        self._done: dict[Token, Gathered] = {}
        self._failures: dict[Token, int] = {}
        self._thread: Thread | None = None

    def keep(self, known: Iterable[Token]) -> None:
        """Forget what is not live any more."""
        known = set(known)
        self._done = {token: done for token, done in self._done.items() if token in known}
        self._failures = {token: count for token, count in self._failures.items() if token in known}

    def gathered(self, one: LiveAttempt) -> Gathered | None:
        """Return what is to be reported of an ended attempt's outputs; None: not yet, ask again in the next turn."""
        done = self._done.get(one.token)
        if done is not None:
            return done
        if not asks((one.folder.record() or {}).get("fields") or {}):
            return Gathered()
        if self._thread is None or not self._thread.is_alive():
            self._thread = Thread(target=self._gather, args=(one,), name="gather", daemon=True)
            self._thread.start()
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
        if done is not None:
            self._done[one.token] = done
