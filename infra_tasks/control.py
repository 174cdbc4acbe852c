"""`revoke`, from Flower, `AsyncResult` or a script, becomes the durable cancel flag of the run."""

from __future__ import annotations

from typing import Any

from celery.app.control import Control as PlainControl

from infra_tasks import settings
from infra_tasks.errors import UnknownRun
from infra_tasks.ledger import open_ledger


class Control(PlainControl):  # type: ignore[misc]
    """Celery's remote control; only revoke differs."""

    def revoke(self, task_id: Any, destination: Any = None, terminate: bool = False, **options: Any) -> Any:  # noqa: FBT001, FBT002
        """Cancel runs durably; ids that are no runs are revoked as Celery does it."""
        ids = [task_id] if isinstance(task_id, str) else list(task_id)
        others = [one for one in ids if not cancelled(one)]
        if others:
            return super().revoke(others, destination=destination, terminate=terminate, **options)
        return None

    def terminate(self, task_id: Any, destination: Any = None, signal: Any = None, **options: Any) -> Any:
        """Do the same: a run is always ended by its shim."""
        return self.revoke(task_id, destination=destination, terminate=True, signal=signal, **options)


def cancelled(task_id: str) -> bool:
    """Ask for the end of a run; False when the id is no run."""
    ledger = open_ledger(settings.home())
    try:
        ledger.runs.cancel(task_id, actor="revoke")
    except UnknownRun:
        return False
    finally:
        ledger.close()
    return True
