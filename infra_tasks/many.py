"""Many runs, waited for together: as they end, and as the list that `run_spec.map(specs)` returns."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Literal, cast, overload

from infra_tasks import settings
from infra_tasks.aside import Stream
from infra_tasks.awaiting import as_they_end, in_order
from infra_tasks.errors import RunFailed
from infra_tasks.limit import Limit

if TYPE_CHECKING:
    from infra_tasks.awaiting import RunRef
    from infra_tasks.model.run_info import ResultDict, RunInfo
    from infra_tasks.typed import RunResult


class AsCompleted(Iterator["RunInfo"], AsyncIterable["RunInfo"]):
    """Runs as they end, for `for` as well as for `async for`."""

    def __init__(self, runs: Iterable[RunRef], timeout_s: float | None) -> None:
        self._home, self._runs, self._limit = settings.home(), list(runs), Limit(timeout_s)
        self._ends = as_they_end(self._home, self._runs, self._limit)

    def __next__(self) -> RunInfo:
        """Return the next one, waiting in this thread."""
        return next(self._ends)

    async def __aiter__(self) -> AsyncIterator[RunInfo]:
        """Yield them to an event loop; a thread waits."""
        stream = Stream(lambda left: as_they_end(self._home, self._runs, self._limit.until(left)))
        try:
            async for run in stream:
                yield run
        finally:
            stream.leave()


class RunResults(Sequence["RunResult"]):
    """The results of many runs, in the order of their specs: `len()`, indexes, slices and loops work as on a list.

    Waiting outlives outages of Redis, and may be done by several threads at once.
    """

    def __init__(self, results: Sequence[RunResult]) -> None:
        self._results = list(results)

    def __repr__(self) -> str:
        return f"<RunResults: {len(self)} runs>"

    def __len__(self) -> int:
        return len(self._results)

    def __iter__(self) -> Iterator[RunResult]:
        return iter(self._results)

    @overload
    def __getitem__(self, index: int) -> RunResult: ...
    @overload
    def __getitem__(self, index: slice) -> RunResults: ...
    def __getitem__(self, index: int | slice) -> RunResult | RunResults:
        return RunResults(self._results[index]) if isinstance(index, slice) else self._results[index]

    @property
    def ids(self) -> list[str]:
        """The ids of the runs, in order."""
        return [one.id for one in self._results]

    @overload
    def get(self, timeout: float | None = None, *, propagate: Literal[True] = True) -> list[ResultDict]: ...
    @overload
    def get(self, timeout: float | None = None, *, propagate: Literal[False]) -> list[ResultDict | RunFailed]: ...
    def get(
        self,
        timeout: float | None = None,
        *,
        propagate: bool = True,
    ) -> list[ResultDict] | list[ResultDict | RunFailed]:
        """Return the results in order, once all runs have ended.

        `timeout`: seconds to wait for all of them together.
        Raises RunFailed or RunRevoked as soon as one run has ended so, the others go on; with `propagate=False` the
        error takes the place of that result. Raises StillGoing when the time is over: it names the runs.
        """
        found = {}
        for one in self.as_completed(timeout):
            found[one.id] = one.check() if propagate else one
        return [_value(found[run_id]) for run_id in self.ids]

    def as_completed(self, timeout: float | None = None) -> AsCompleted:
        """Give every run as it ends, however it ends: to `for`, and in an event loop to `async for`.

        A run that several specs mean (same key) comes once. `timeout`: seconds to wait for all of them together.
        Raises StillGoing when they are over.
        """
        return AsCompleted(self._results, timeout)

    def wait(self, timeout: float | None = None) -> list[RunInfo]:
        """Return all runs in order, once all have ended, however they ended.

        `timeout`: seconds to wait for all of them together. Raises StillGoing when they are over.
        """
        return in_order(settings.home(), self._results, Limit(timeout))


def _value(run: RunInfo) -> ResultDict | RunFailed:
    try:
        return cast("ResultDict", run.check().result)
    except RunFailed as error:
        return error
