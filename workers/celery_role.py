"""What the Celery workers of a node share: how they start, and how they show that their loop turns."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from typing import TYPE_CHECKING, Any

from celery import bootsteps
from celery.signals import after_setup_logger

from infra_tasks import settings
from infra_tasks.errors import FleetUnreachable, InfraError
from infra_tasks.ledger import open_ledger

if TYPE_CHECKING:
    from collections.abc import Callable

    from celery import Celery

    from workers.role import Pulse

TICK_EVERY_S = 1.0
# A loop that has not ticked for this long is not heard any more, unless Redis is away: then it waits for that.
TICK_MISSED_S = 8.0


class Ticker:
    """Beats for a Celery worker: while its event loop turns, and while it rightly waits for Redis."""

    def __init__(self, pulse: Pulse) -> None:
        self._pulse = pulse
        self._ticked_at = time.monotonic()

    def tick(self) -> None:
        """Called by the worker's own event loop."""
        self._ticked_at = time.monotonic()

    def watch(self) -> None:
        """Beat from a thread of its own, for ever."""
        threading.Thread(target=self._watch, name="pulse", daemon=True).start()

    def _watch(self) -> None:
        pause = threading.Event()
        while not pause.wait(TICK_EVERY_S):
            if time.monotonic() - self._ticked_at < TICK_MISSED_S or not redis_answers():
                self._pulse.beat()


def redis_answers() -> bool:
    """Say whether Redis can be talked to right now."""
    try:
        ledger = open_ledger(settings.home())
        try:
            return ledger.answers()
        finally:
            ledger.close()
    except InfraError:
        return False


def every(seconds: float, do: Callable[[Any], None]) -> type[bootsteps.StartStopStep]:
    """Return a consumer step that calls `do(consumer)` in the event loop, again and again."""

    class Repeat(bootsteps.StartStopStep):  # type: ignore[misc]
        requires = ("celery.worker.consumer.tasks:Tasks",)

        def __init__(self, parent: Any, **options: Any) -> None:
            super().__init__(parent, **options)
            self._entry: Any = None

        def start(self, parent: Any) -> None:
            self._entry = parent.timer.call_repeatedly(seconds, do, (parent,))

        def stop(self, parent: Any) -> None:  # noqa: ARG002  Celery's signature
            if self._entry is not None:
                self._entry.cancel()

    Repeat.name = f"repeat-{do.__name__}"
    return Repeat


def mend(queue: str) -> None:
    """Push what the process before this one took with it into its death: Redis had handed it over, nobody noted it."""
    ledger = open_ledger(settings.home())
    with contextlib.suppress(FleetUnreachable):  # the sweep does it later
        ledger.claims.mend_queue(queue)
    ledger.close()


def serve(app: Celery, pulse: Pulse, **options: Any) -> int:
    """Run a Celery worker in this process until it is told to stop; return its exit code.

    Made by hand, not by Celery's command line: that would load Flower and a shell, 12 MB, into every role.
    """
    ticker = Ticker(pulse)
    app.steps["consumer"].add(every(TICK_EVERY_S, lambda _consumer: ticker.tick()))
    after_setup_logger.connect(_log_runs, weak=False)
    ticker.watch()
    app.conf.worker_consumer = "workers.consumer:EventSavingConsumer"
    worker = app.Worker(loglevel=logging.WARNING, quiet=True, without_mingle=True, without_gossip=True, **options)
    worker.start()
    return int(worker.exitcode or 0)


def _log_runs(**_: Any) -> None:
    logging.getLogger("infra_tasks").setLevel(logging.INFO)
