"""Runs commands on a fleet of machines and never loses one.

    from infra_tasks import run_spec
    result = run_spec.delay({"command": ["python", "train.py"], "project": "trainer"})
    result.get()

Submitting: `run_spec` (a Celery task: `delay`, `apply_async`, `map`, `s` for chains, groups and chords), `submit_many`.
Staying with a run: `run` submits, streams, and returns the end. Runs by their id: `get`, `wait`, `as_completed`,
`cancel`, `extend`, `retry`, `stream_logs`. For event loops: `arun`, `asubmit`, `asubmit_many`, `aget`, `await_runs`,
`acancel`, `aextend`, `aretry`, `astream_logs`.

Names are loaded when they are first used: `import infra_tasks` costs nothing, and the small processes
(zygote, shim) can live inside this package.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from infra_tasks.acalls import acancel as acancel
    from infra_tasks.acalls import aextend as aextend
    from infra_tasks.acalls import aget as aget
    from infra_tasks.acalls import aretry as aretry
    from infra_tasks.acalls import arun as arun
    from infra_tasks.acalls import astream_logs as astream_logs
    from infra_tasks.acalls import asubmit as asubmit
    from infra_tasks.acalls import asubmit_many as asubmit_many
    from infra_tasks.acalls import await_runs as await_runs
    from infra_tasks.calls import as_completed as as_completed
    from infra_tasks.calls import cancel as cancel
    from infra_tasks.calls import extend as extend
    from infra_tasks.calls import get as get
    from infra_tasks.calls import retry as retry
    from infra_tasks.calls import run as run
    from infra_tasks.calls import stream_logs as stream_logs
    from infra_tasks.calls import wait as wait
    from infra_tasks.errors import BadFleet as BadFleet
    from infra_tasks.errors import BadInput as BadInput
    from infra_tasks.errors import BadOption as BadOption
    from infra_tasks.errors import BadSpec as BadSpec
    from infra_tasks.errors import FleetUnreachable as FleetUnreachable
    from infra_tasks.errors import IdempotencyConflict as IdempotencyConflict
    from infra_tasks.errors import InfraError as InfraError
    from infra_tasks.errors import RunFailed as RunFailed
    from infra_tasks.errors import RunRevoked as RunRevoked
    from infra_tasks.errors import SafeMode as SafeMode
    from infra_tasks.errors import StillGoing as StillGoing
    from infra_tasks.errors import SubmitUnknown as SubmitUnknown
    from infra_tasks.errors import UnknownRun as UnknownRun
    from infra_tasks.many import AsCompleted as AsCompleted
    from infra_tasks.many import RunResults as RunResults
    from infra_tasks.model.output_line import OutputLine as OutputLine
    from infra_tasks.model.run import Reason as Reason
    from infra_tasks.model.run import State as State
    from infra_tasks.model.run_info import OutputsDict as OutputsDict
    from infra_tasks.model.run_info import ResultDict as ResultDict
    from infra_tasks.model.run_info import RunInfo as RunInfo
    from infra_tasks.model.spec import RunSpec as RunSpec
    from infra_tasks.tasks import run_spec as run_spec
    from infra_tasks.tasks import submit_many as submit_many
    from infra_tasks.typed import RunResult as RunResult
    from infra_tasks.typed import RunSignature as RunSignature
    from infra_tasks.typed import RunSpecTask as RunSpecTask

__version__ = "0.1.0"
__all__ = [
    "AsCompleted",
    "BadFleet",
    "BadInput",
    "BadOption",
    "BadSpec",
    "FleetUnreachable",
    "IdempotencyConflict",
    "InfraError",
    "OutputLine",
    "OutputsDict",
    "Reason",
    "ResultDict",
    "RunFailed",
    "RunInfo",
    "RunResult",
    "RunResults",
    "RunRevoked",
    "RunSignature",
    "RunSpec",
    "RunSpecTask",
    "SafeMode",
    "State",
    "StillGoing",
    "SubmitUnknown",
    "UnknownRun",
    "acancel",
    "aextend",
    "aget",
    "aretry",
    "arun",
    "as_completed",
    "astream_logs",
    "asubmit",
    "asubmit_many",
    "await_runs",
    "cancel",
    "extend",
    "get",
    "retry",
    "run",
    "run_spec",
    "stream_logs",
    "submit_many",
    "wait",
]

_NAMES = {
    "infra_tasks.acalls": "acancel aextend aget aretry arun astream_logs asubmit asubmit_many await_runs",
    "infra_tasks.calls": "as_completed cancel extend get retry run stream_logs wait",
    "infra_tasks.errors": "BadFleet BadInput BadOption BadSpec FleetUnreachable IdempotencyConflict InfraError "
    "RunFailed RunRevoked SafeMode StillGoing SubmitUnknown UnknownRun",
    "infra_tasks.many": "AsCompleted RunResults",
    "infra_tasks.model.output_line": "OutputLine",
    "infra_tasks.model.run_info": "OutputsDict ResultDict RunInfo",
    "infra_tasks.model.run": "Reason State",
    "infra_tasks.model.spec": "RunSpec",
    "infra_tasks.tasks": "run_spec submit_many",
    "infra_tasks.typed": "RunResult RunSignature RunSpecTask",
}
_ROOMS = {name: room for room, names in _NAMES.items() for name in names.split()}

if not TYPE_CHECKING:  # a type checker that saw it would believe any name

    def __getattr__(name: str) -> Any:
        if name not in _ROOMS:
            raise AttributeError(f"module 'infra_tasks' has no attribute {name!r}")
        from importlib import import_module  # noqa: PLC0415  the whole point is to import late

        return getattr(import_module(_ROOMS[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
