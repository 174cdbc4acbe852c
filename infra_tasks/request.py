"""How a worker hears that somebody wants a run ended: as the durable cancel flag, never as the death of the child."""

from __future__ import annotations

from typing import Any

from celery.worker import state
from celery.worker.request import Request

from infra_tasks.control import cancelled


class RunRequest(Request):  # type: ignore[misc]
    """A hint in a worker's hands."""

    def terminate(self, pool: Any, signal: Any = None) -> None:
        """Cancel the run; the child goes on and hears its end from the shim."""
        if not cancelled(self.id):
            super().terminate(pool, signal)

    def revoked(self) -> bool:
        """Turn a revoke this worker remembers into the flag, and let the child find out what the ledger says."""
        if self.id in state.revoked:
            state.revoked.discard(self.id)
            cancelled(self.id)
        return False
