"""Celery's consumer: tells its events a few times a second, and is back soon after an outage of Redis.

A run makes three events (received, started, succeeded); one message for each would cost a node more than the hint.
"""

from __future__ import annotations

import time
from functools import partial
from typing import Any

from celery.worker.consumer import Consumer

TELL_EVERY_S = 0.2
# Pauses between tries to connect: the first, how each grows, the longest. Celery's own grow to half a minute.
CONNECT_PAUSES_S = {"interval_start": 0.5, "interval_step": 0.5, "interval_max": 1.5}


class EventSavingConsumer(Consumer):  # type: ignore[misc]
    """What is buffered is sent `TELL_EVERY_S` later, or when Celery's buffer is full."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._told_at = 0.0

    def ensure_connected(self, conn: Any) -> Any:
        """Try until Redis answers; hints wait there, so never pause for long."""
        conn.ensure_connection = partial(conn.ensure_connection, **CONNECT_PAUSES_S)
        return super().ensure_connected(conn)

    def on_send_event_buffered(self) -> None:
        """An event was put into the buffer. A timer that got lost with its connection costs one pause, no more."""
        now = time.monotonic()
        if self.hub and now >= self._told_at:
            self._told_at = now + TELL_EVERY_S
            self.timer.call_after(TELL_EVERY_S, self._flush_events)
