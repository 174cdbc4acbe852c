"""How a worker hears that somebody wants a run ended: as the durable cancel flag, never as the death of the child."""

from __future__ import annotations

import logging
from threading import Thread
from typing import Any

from celery.worker import state
from celery.worker.request import Request

from infra_tasks.control import cancelled
from infra_tasks.errors import InfraError

log = logging.getLogger(__name__)


class RunRequest(Request):  # type: ignore[misc]
    """A hint in a worker's hands."""

    def terminate(self, pool: Any, signal: Any = None) -> None:  # noqa: ARG002  Celery's signature
        """Cancel the run; the child goes on and hears its end from the shim."""
        _cancel_soon(self.id)

    def revoked(self) -> bool:
        """Turn a revoke this worker remembers into the flag, and let the child find out what the ledger says."""
        if self.id in state.revoked:
            state.revoked.discard(self.id)
            _cancel_soon(self.id)
        return False


def _cancel_soon(run_id: str) -> None:
    """Ask from a thread of its own: the worker's event loop must not wait for the ledger."""
    Thread(target=_cancel, args=(run_id,), daemon=True).start()


def _cancel(run_id: str) -> None:
    try:
        cancelled(run_id)
    except InfraError as error:
        log.error("run %s could not be cancelled: %s", run_id, error)  # noqa: TRY400  the reason is enough
