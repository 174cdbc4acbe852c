"""Plain Celery tasks of a user, known to the node through INFRA_INCLUDE."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from infra_tasks.app import app


@app.task
def note(given: Any, path: str) -> Any:
    """Append what a run handed over to a file, and hand it on."""
    with Path(path).open("a", encoding="utf-8") as file:
        file.write(json.dumps(given) + "\n")
    return given


@app.task
def note_failure(request: Any, error: Any, _traceback: Any, path: str) -> None:
    """Append how a run failed."""
    with Path(path).open("a", encoding="utf-8") as file:
        file.write(json.dumps({"id": request.id, "kind": type(error).__name__, "said": str(error)}) + "\n")


@app.task
def outputs(results: list[dict[str, Any]]) -> list[str]:
    """Return what the parts of a chord have printed."""
    return [one["stdout_tail"].strip() for one in results]


@app.task
def count(result: dict[str, Any]) -> int:
    """Return how long a run's output is."""
    return len(result["stdout_tail"])


@app.task
def run_inside(spec: dict[str, Any]) -> str:
    """Run a spec to its end inside this task, and return what was printed."""
    import infra_tasks

    return infra_tasks.run(spec).stdout_tail
