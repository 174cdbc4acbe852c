"""Takes up what the control before this one had taken from the broker and not finished.

Redis keeps no list of who lives: a message in the hands of a control that died would come back after a week. So a plain
task behind a run happens at least once, and a foreign message is adopted, whatever dies.
"""

from __future__ import annotations

import logging
from enum import Enum
from typing import Any

from celery import bootsteps, states
from celery.app.task import Context
from celery.exceptions import WorkerLostError

# A task that control died of so often is what it died of.
DEATHS = 3
# A header: how often a message was in the hands of a control that died.
DIED_WITH = "infra_died_with"

log = logging.getLogger("infra_tasks.control")


class Fate(Enum):
    """What becomes of a message whose control died."""

    AGAIN = "again"
    DONE = "done"
    GIVEN_UP = "given up"


def fate(deaths: int, state: str, *, in_chord: bool) -> Fate:
    """Decide. A success is stored behind its callbacks but before its chord is told: a part of one is done again."""
    if state == states.SUCCESS and not in_chord:
        return Fate.DONE
    return Fate.GIVEN_UP if deaths >= DEATHS else Fate.AGAIN


class TakeUp(bootsteps.StartStopStep):  # type: ignore[misc]
    """Does it once, as soon as there is a connection and before anything is consumed."""

    requires = ("celery.worker.consumer.connection:Connection",)

    def __init__(self, parent: Any, **options: Any) -> None:
        super().__init__(parent, **options)
        self._done = False

    def start(self, parent: Any) -> None:
        """Take up what is there; what the broker lost its connection in, the next connection does."""
        if not self._done:
            take_up(parent.app, parent.connection.default_channel)
            self._done = True


def take_up(app: Any, channel: Any) -> None:
    """Put back, strike off or give up every message that was taken and not acknowledged."""
    for taken in channel.taken():
        headers = taken.message["headers"]
        deaths = headers[DIED_WITH] = headers.get(DIED_WITH, 0) + 1
        request = _request_of(channel, taken.message)
        verdict = fate(deaths, app.backend.get_state(request.id), in_chord=bool(request.chord))
        log.warning("task %s %s was cut off when control died: %s", headers.get("task"), request.id, verdict.value)
        if verdict is Fate.GIVEN_UP:
            error = WorkerLostError(f"control died {deaths} times while it was at it")
            app.backend.mark_as_failure(request.id, error, request=request)
        channel.forget(taken, put_back=verdict is Fate.AGAIN)


def _request_of(channel: Any, message: dict[str, Any]) -> Context:
    """Return a task's request as Celery would see it: who must hear how it ends."""
    args, kwargs, embed = channel.Message(message, channel=channel).decode()
    return Context({**message["headers"], "args": args, "kwargs": kwargs, "delivery_info": {}, **(embed or {})})
