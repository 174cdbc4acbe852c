"""How a worker hears that somebody wants a run ended: as the durable cancel flag, never as the death of the child."""

from __future__ import annotations

import logging
from threading import Thread
from typing import Any

from celery.worker import state
from celery.worker.request import Request

from infra_tasks.control import cancelled
from infra_tasks.errors import InfraError
from infra_tasks.model.hint import arguments_shown

log = logging.getLogger(__name__)


class RunRequest(Request):  # type: ignore[misc]
    """A hint in a worker's hands."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        if self._args or self._kwargs:  # a foreign client's spec: events and Flower would print its command and env
            self._argsrepr, self._kwargsrepr = foreign_shown(self._args, self._kwargs), "{}"

    def info(self, safe: bool = False) -> Any:  # noqa: ARG002, FBT001, FBT002  Celery's signature
        """Return what `inspect` tells of it, never a spec."""
        return super().info(safe=True)

    def terminate(self, pool: Any, signal: Any = None) -> None:  # noqa: ARG002  Celery's signature
        """Cancel the run; the child goes on and hears its end from the shim."""
        _cancel_soon(self.id)

    def revoked(self) -> bool:
        """Turn a revoke this worker remembers into the flag, and let the child find out what the ledger says."""
        if self.id in state.revoked:
            state.revoked.discard(self.id)
            _cancel_soon(self.id)
        return False


def foreign_shown(args: Any, kwargs: Any) -> str:
    """Return what may be shown of a spec that came as a message of its own; it may be wrong in any way."""
    given = [*(args or ()), *(kwargs or {}).values()]
    spec = given[-1] if given and isinstance(given[-1], dict) else {}
    words = (spec.get(name) for name in ("name", "project", "node"))
    return arguments_shown(*(word if isinstance(word, str) else None for word in words))


def _cancel_soon(run_id: str) -> None:
    """Ask from a thread of its own: the worker's event loop must not wait for the ledger."""
    Thread(target=_cancel, args=(run_id,), daemon=True).start()


def _cancel(run_id: str) -> None:
    try:
        cancelled(run_id)
    except InfraError as error:
        log.error("run %s could not be cancelled: %s", run_id, error)  # noqa: TRY400  the reason is enough
