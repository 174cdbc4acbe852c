"""Runs commands on a fleet of machines and never loses one.

    from infra_tasks import run_spec
    result = run_spec.delay({"command": ["python", "train.py"], "project": "trainer"})
    result.get()

Names are loaded when they are first used: `import infra_tasks` costs nothing, and the small processes
(zygote, shim) can live inside this package.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from infra_tasks.model.spec import RunSpec as RunSpec
    from infra_tasks.tasks import run_spec as run_spec
    from infra_tasks.tasks import submit_many as submit_many

__version__ = "0.1.0"
__all__ = ["RunSpec", "run_spec", "submit_many"]

_ROOMS = {"RunSpec": "infra_tasks.model.spec", "run_spec": "infra_tasks.tasks", "submit_many": "infra_tasks.tasks"}


def __getattr__(name: str) -> Any:
    if name not in _ROOMS:
        raise AttributeError(f"module 'infra_tasks' has no attribute {name!r}")
    from importlib import import_module  # noqa: PLC0415  the whole point is to import late

    return getattr(import_module(_ROOMS[name]), name)
