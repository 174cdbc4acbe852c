"""Waiting for results that survives Redis: a lost connection is waited out, not raised, as long as the caller waits."""

from __future__ import annotations

import logging
from contextlib import contextmanager, suppress
from threading import Event
from typing import TYPE_CHECKING, Any

from celery.backends.redis import ResultConsumer
from celery.result import AsyncResult

if TYPE_CHECKING:
    from collections.abc import Iterator

RETRY_EVERY_S = 0.2

log = logging.getLogger(__name__)


class PatientResult(AsyncResult):  # type: ignore[misc]
    """A result whose `get()` looks whether what goes before it has failed, again and again, and needs no answer."""

    def _maybe_reraise_parent_error(self) -> None:
        with suppress(*self.backend.connection_errors):
            super()._maybe_reraise_parent_error()


class PatientConsumer(ResultConsumer):  # type: ignore[misc]
    """Hears of results over pub/sub; after an outage it subscribes anew and reads what it missed.

    Whatever fails leaves it deaf; only `drain_events`, which its caller repeats until its own timeout, cures that.
    """

    _deaf = False

    def start(self, initial_task_id: str, **kwargs: Any) -> None:
        """Subscribe to the first result."""
        self._or_deaf(lambda: super(PatientConsumer, self).start(initial_task_id, **kwargs))

    def consume_from(self, task_id: str) -> None:
        """Subscribe to one more result; while deaf, note that it is wanted."""
        if not self._deaf:
            self._or_deaf(lambda: super(PatientConsumer, self).consume_from(task_id))
            return
        with self._locked():
            key = self._get_key_for_task(task_id)
            self._pending_unsubscribe.discard(key)
            self.subscribed_to.add(key)

    def on_wait_for_pending(self, result: Any, **kwargs: Any) -> None:
        """Look whether the result is there already."""
        self._or_deaf(lambda: super(PatientConsumer, self).on_wait_for_pending(result, **kwargs))

    def drain_events(self, timeout: float | None = None) -> None:
        """Wait for news for a moment. An outage is no news."""
        if self._deaf:
            self._listen_anew(RETRY_EVERY_S if timeout is None else min(timeout, RETRY_EVERY_S))
        else:
            self._or_deaf(lambda: super(PatientConsumer, self).drain_events(timeout))

    def cancel_for(self, task_id: str) -> None:
        """Listen for a result no more; a lost connection listens for nothing anyway."""
        with suppress(*self._connection_errors):
            super().cancel_for(task_id)

    @contextmanager
    def reconnect_on_error(self) -> Iterator[None]:
        """Let a lost connection through: Celery would try for 20 s and then give up for good."""
        yield

    def _or_deaf(self, ask: Any) -> None:
        try:
            ask()
        except self._connection_errors as error:
            log.debug("waiting for Redis: %s", error)
            self._deaf = True

    def _listen_anew(self, pause_s: float) -> None:
        try:
            self._reconnect_pubsub()
            self._deaf = False
        except self._connection_errors as error:
            log.debug("still waiting for Redis: %s", error)
            Event().wait(pause_s)
