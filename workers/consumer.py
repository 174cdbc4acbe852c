"""Celery's consumer, telling its events a few times a second instead of in every turn of its loop.

A run makes three events (received, started, succeeded); one message for each would cost a node more than the hint.
"""

from __future__ import annotations

import time
from typing import Any

from celery.worker.consumer import Consumer

TELL_EVERY_S = 0.2


class EventSavingConsumer(Consumer):  # type: ignore[misc]
    """What is buffered is sent `TELL_EVERY_S` later, or when Celery's buffer is full."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._told_at = 0.0

    def on_send_event_buffered(self) -> None:
        """An event was put into the buffer. A timer that got lost with its connection costs one pause, no more."""
        now = time.monotonic()
        if self.hub and now >= self._told_at:
            self._told_at = now + TELL_EVERY_S
            self.timer.call_after(TELL_EVERY_S, self._flush_events)
