"""The result backend: Celery's own, but Celery cannot end a run.

The script that ends a run writes and announces its result. What Celery says about a run passes only when the ledger
has made it final and agrees; then it is good for one thing: to carry on what follows (chain, chord, callbacks).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from celery.backends.redis import RedisBackend

from infra_tasks.errors import RunFailed
from infra_tasks.ledger import Ledger
from infra_tasks.model.run import State
from infra_tasks.results import PatientConsumer


@dataclass(frozen=True)
class Told:
    """What the ledger said a moment ago to whoever carries a hint out: final is final, nobody need ask again.

    `followed`: something may be waiting for the end of this run. `home_node`: where its outputs and those of what
    follows are wanted; None when that was not told.
    """

    state: str
    followed: bool
    home_node: str | None = None


def told_of(request: Any, task_id: str) -> Told | None:
    """Return what a task's request was told. A message cannot bring this along: JSON makes no such value."""
    told = getattr(request, "told", None)
    return told if isinstance(told, Told) and request.id == task_id else None


class LedgerBackend(RedisBackend):  # type: ignore[misc]
    """Results of plain Celery tasks as always; results of runs only from the ledger."""

    ResultConsumer = PatientConsumer

    @cached_property
    def ledger(self) -> Ledger:
        """The ledger behind the same address."""
        return Ledger.at(self.app.conf.broker_url)

    def store_result(
        self, task_id: Any, result: Any, state: Any, traceback: Any = None, request: Any = None, **kwargs: Any
    ) -> Any:
        """Store the result of what is no run; a run's is written by the ledger alone."""
        if told_of(request, task_id):
            return result
        if self.ledger.runs.peek(task_id)[0] is None:
            return super().store_result(task_id, result, state, traceback, request, **kwargs)
        return result

    def on_task_call(self, producer: Any, task_id: str) -> None:
        """Subscribe when somebody waits (`get()`), not with every `delay()`."""

    def mark_as_done(self, task_id: str, result: Any, request: Any = None, *args: Any, **kwargs: Any) -> Any:
        """Count a chord part, if the ledger agrees that this run has succeeded."""
        told = told_of(request, task_id)
        state = told.state if told else self._state(task_id)
        if state is None or state == State.SUCCESS:
            return super().mark_as_done(task_id, result, request, *args, **kwargs)
        return None

    def mark_as_failure(self, task_id: str, exc: Any, *args: Any, **kwargs: Any) -> Any:
        """Carry on a failure, if it is the one the ledger knows (and not a lost worker or a time limit of Celery)."""
        told = told_of(kwargs.get("request"), task_id)
        state = told.state if told else self._state(task_id)
        if state is None or _agrees(state, exc):
            return super().mark_as_failure(task_id, exc, *args, **kwargs)
        return None

    def mark_as_revoked(self, task_id: str, *args: Any, **kwargs: Any) -> Any:
        """A run is revoked by its cancel flag only."""
        if self.ledger.runs.peek(task_id)[0] is None:
            return super().mark_as_revoked(task_id, *args, **kwargs)
        return None

    def _state(self, task_id: str) -> str | None:
        return self.ledger.runs.peek(task_id)[0]

    def chord_is_open(self, group_id: str | None) -> bool:
        """Say whether all parts of a chord are there but its body is not: whoever claimed it may have died."""
        if not group_id:
            return False
        client = self.client
        jkey, skey, dkey = (self.get_key_for_group(group_id, end) for end in (".j", ".s", ".d"))
        if client.exists(dkey):
            return False
        size = client.get(skey)
        return size is not None and client.zcard(jkey) >= int(size)


def _agrees(state: str, exc: Any) -> bool:
    return state in {State.FAILURE, State.REVOKED} and isinstance(exc, RunFailed)
