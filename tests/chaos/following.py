"""Plain Celery tasks that follow runs in the kill tests, known to the node through INFRA_INCLUDE."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

from infra_tasks.app import app


@app.task(bind=True)
def follow(self: Any, given: Any, file: str, seconds: float) -> Any:
    """Say in a file that it begins, work for a while, say that it ends; hand on what was given."""
    for word in ("begins", "ends"):
        with Path(file).open("a", encoding="utf-8") as notes:
            notes.write(f"{word} {self.request.id}\n")
        if word == "begins":
            time.sleep(seconds)
    return given


@app.task(bind=True)
def murder(self: Any, given: Any, file: str) -> None:
    """Kill the process that runs it."""
    with Path(file).open("a", encoding="utf-8") as notes:
        notes.write(f"begins {self.request.id}\n")
    os.kill(os.getpid(), signal.SIGKILL)


@app.task
def failed(request: Any, error: Any, _traceback: Any, file: str) -> None:
    """Say in a file what failed."""
    with Path(file).open("a", encoding="utf-8") as notes:
        notes.write(f"failed {request.id}\n")
