"""What a type checker is told of `run_spec`, its results and signatures: Celery itself has no types."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, Protocol, Self, overload

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

    from infra_tasks.errors import RunFailed
    from infra_tasks.many import RunResults
    from infra_tasks.model.run_info import ResultDict
    from infra_tasks.model.spec import RunSpec


class RunResult(Protocol):
    """The Celery AsyncResult of a run; it has all of Celery's methods, here are those with a meaning for runs."""

    @property
    def id(self) -> str:
        """The id of the run."""

    @property
    def state(self) -> str:
        """PENDING until the run is final (Celery knows no more), then SUCCESS, FAILURE or REVOKED."""

    @property
    def status(self) -> str:
        """The same."""

    @property
    def result(self) -> Any:
        """What `get()` returns or raises, None while the run goes on."""

    @property
    def parent(self) -> Any:
        """What goes before it in a chain, or None."""

    @property
    def children(self) -> Any:
        """What was called behind it, or None."""

    @overload
    def get(self, timeout: float | None = None, *, propagate: Literal[True] = True) -> ResultDict: ...
    @overload
    def get(self, timeout: float | None = None, *, propagate: Literal[False]) -> ResultDict | RunFailed: ...
    def get(self, timeout: float | None = None, *, propagate: bool = True) -> ResultDict | RunFailed:
        """Return the result once the run is final; outages of Redis are waited out.

        `timeout`: seconds to wait. Raises RunFailed, RunRevoked (`propagate=False` returns them), and
        celery.exceptions.TimeoutError.
        """

    def ready(self) -> bool:
        """Say whether the run is final."""

    def successful(self) -> bool:
        """Say whether the run ended well."""

    def failed(self) -> bool:
        """Say whether the run ended as FAILURE."""

    def revoke(self) -> None:
        """Ask the run to stop; the wish is durable."""

    def then(self, callback: Any, on_error: Any = None) -> Any:
        """Call a function once somebody has heard of the end by waiting for it."""


class RunSignature(Protocol):
    """A spec in a canvas: one step of a chain, one part of a group or chord."""

    def __or__(self, other: Any) -> Any: ...

    def clone(self) -> Self:
        """Return a copy."""

    def delay(self) -> RunResult:
        """Submit it."""

    def apply_async(self, **options: Any) -> RunResult:
        """Submit it with options of `run_spec.apply_async`."""

    def set(self, **options: Any) -> Self:
        """Give it options."""

    def link(self, callback: Any) -> Any:
        """Call a task, or start a run, once the run has succeeded."""

    def link_error(self, errback: Any) -> Any:
        """Call a task once the run has failed."""

    def on_error(self, errback: Any) -> Self:
        """Do the same and return this signature."""


class RunSpecTask(Protocol):
    """`run_spec`, the Celery task `infra_tasks.run_spec`."""

    name: str

    def delay(self, spec: RunSpec | Mapping[str, Any]) -> RunResult:
        """Accept a spec durably and return its result.

        Raises BadSpec, IdempotencyConflict, FleetUnreachable; SubmitUnknown when the connection was lost in between.
        """

    def apply_async(
        self,
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        task_id: str | None = None,
        *,
        countdown: float | None = None,
        eta: datetime | str | None = None,
        expires: float | datetime | str | None = None,
        link: Any = None,
        link_error: Any = None,
    ) -> RunResult:
        """Accept a spec with options: `countdown` in seconds, `expires` in seconds from now or a moment.

        Raises what `delay` raises, and BadOption.
        """

    def map(self, specs: Iterable[RunSpec | Mapping[str, Any]]) -> RunResults:
        """Accept many specs in a few round trips. All are refused when one is wrong. Raises what `delay` raises.

        Example::

            results = run_spec.map({"command": ["train", "--rate", str(rate)]} for rate in (0.1, 0.2))
            for ended in results.as_completed(timeout=600):
                print(ended.state)
        """

    def s(self, spec: RunSpec | Mapping[str, Any]) -> RunSignature:
        """Return a signature for a canvas."""

    def si(self, spec: RunSpec | Mapping[str, Any]) -> RunSignature:
        """Return an immutable signature for a canvas."""

    def signature(self, args: Sequence[Any] | None = None, **options: Any) -> RunSignature:
        """Return a signature with options."""

    def AsyncResult(self, task_id: str) -> RunResult:  # noqa: N802  Celery's name
        """Return the result of a run by its whole id."""
