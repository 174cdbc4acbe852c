"""Waiting for results that survives Redis: a lost connection is waited out, not raised."""

from __future__ import annotations

import logging
from threading import Event
from typing import Any

from celery.backends.redis import ResultConsumer

RETRY_EVERY_S = 0.2

log = logging.getLogger(__name__)


class PatientConsumer(ResultConsumer):  # type: ignore[misc]
    """Hears of results over pub/sub; after an outage it subscribes anew and reads what it missed."""

    def start(self, initial_task_id: str, **kwargs: Any) -> None:
        """Subscribe to the first result."""
        self._patiently(lambda: super(PatientConsumer, self).start(initial_task_id, **kwargs), again=True)

    def drain_events(self, timeout: float | None = None) -> None:
        """Wait for news for a moment. An outage is no news."""
        self._patiently(lambda: super(PatientConsumer, self).drain_events(timeout), again=False)

    def on_wait_for_pending(self, result: Any, **kwargs: Any) -> None:
        """Look whether the result is there already."""
        self._patiently(lambda: super(PatientConsumer, self).on_wait_for_pending(result, **kwargs), again=True)

    def consume_from(self, task_id: str) -> Any:
        """Subscribe to one more result."""
        return self._patiently(lambda: super(PatientConsumer, self).consume_from(task_id), again=True)

    def _patiently(self, ask: Any, *, again: bool) -> Any:
        """Ask; after a lost connection listen anew, and `again` ask again. The caller's own timeout bounds the wait."""
        while True:
            try:
                return ask()
            except self._connection_errors as error:
                log.debug("waiting for Redis: %s", error)
                Event().wait(RETRY_EVERY_S)
                self._listen_anew()
                if not again:
                    return None

    def _listen_anew(self) -> None:
        try:
            self._reconnect_pubsub()
        except self._connection_errors as error:
            log.debug("still waiting for Redis: %s", error)
