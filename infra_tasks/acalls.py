"""The calls of `calls` for event loops: the same names with an `a` before them, and `await_runs` for `wait`.

    import infra_tasks

    async def train() -> None:
        ended = await infra_tasks.arun({"command": ["python", "train.py"], "project": "trainer"}, print)

The loop is never held up: whatever waits does so in a thread of its own. Cancelling the task that awaits ends that
thread, and returns at once also while Redis hangs; the run itself goes on.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from functools import partial
from inspect import isawaitable
from typing import TYPE_CHECKING, Any, overload

from infra_tasks import aside, awaiting, calls, settings
from infra_tasks.errors import InfraError
from infra_tasks.limit import Limit
from infra_tasks.model.run_info import RunInfo
from infra_tasks.own_run import OwnRun
from infra_tasks.tasks import run_spec

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Generator, Iterable, Mapping
    from datetime import datetime
    from threading import Event

    from infra_tasks.awaiting import HasId, RunRef
    from infra_tasks.many import RunResults
    from infra_tasks.model.output_line import OutputLine, StreamName
    from infra_tasks.model.spec import RunSpec
    from infra_tasks.typed import RunResult


async def arun(
    spec: RunSpec | Mapping[str, Any],
    on_output: Callable[[OutputLine], object] | None = None,
    *,
    timeout_s: float | None = None,
    check: bool = True,
    cancel_on_interrupt: bool = False,
) -> RunInfo:
    """Submit a spec and return the run once it has ended; see `run`.

    `on_output` is called in the event loop; what it returns is awaited if it can be. Cancelling this leaves the run
    alone; with `cancel_on_interrupt` it is asked to stop, and the end of the program waits until that is asked. Raises
    what `run` raises.

    Example::

        ended = await arun({"command": ["make", "report"], "project": "trainer"}, print)
    """
    stay = partial(_stay, spec, timeout_s, wants_lines=on_output is not None, cancel=cancel_on_interrupt)
    stream, run_id, ended = aside.Stream(stay), "", None
    try:
        async for come in stream:
            if isinstance(come, RunInfo):
                ended = come
            elif isinstance(come, str):
                run_id = come
            elif on_output and isawaitable(said := on_output(come)):
                await said
    except BaseException as error:
        _part(error, run_id, cancel=cancel_on_interrupt)
        raise
    finally:
        stream.leave()
    if ended is None:
        raise AssertionError("a run ends, or something is raised")
    return ended.check() if check else ended


def _stay(
    spec: RunSpec | Mapping[str, Any], timeout_s: float | None, left: Event, *, wants_lines: bool, cancel: bool
) -> Generator[str | OutputLine | RunInfo]:
    """Yield the id of the run, its output, and the run as it ended."""
    own = OwnRun(settings.home(), spec, Limit(timeout_s, left))
    try:
        yield own.id
        if wants_lines:
            yield from own.lines()
        yield own.end()
    except BaseException as error:
        error.add_note(own.leave(cancel=cancel))
        raise


def _part(error: BaseException, run_id: str, *, cancel: bool) -> None:
    """Say and do what becomes of the run, if its thread did not say it: the program may end before that can do it."""
    if run_id and not hasattr(error, "__notes__"):
        error.add_note(f"run {run_id} {'is asked to stop' if cancel else 'goes on'}")
        if cancel:
            aside.see_to(partial(_ask_to_stop, run_id))
    elif isinstance(error, asyncio.CancelledError) and not run_id:
        error.add_note("the run was being handed over: it may have been accepted or not; see `infra runs`")


def _ask_to_stop(run_id: str) -> None:
    with suppress(InfraError):
        calls.cancel(run_id)


async def aget(run: RunRef) -> RunInfo:
    """Return what is known of a run now. Raises UnknownRun, FleetUnreachable."""
    return await aside.answer(lambda _: calls.get(run))


async def acancel(run: RunRef, *, kill: bool = False) -> RunInfo:
    """Ask a run to stop, and return it as it is right after that; see `cancel`. Raises UnknownRun, FleetUnreachable."""
    return await aside.answer(lambda _: calls.cancel(run, kill=kill))


async def aextend(run: RunRef, by_s: float) -> RunInfo:
    """Give a run `by_s` seconds more; see `extend`. Raises UnknownRun, BadInput, FleetUnreachable."""
    return await aside.answer(lambda _: calls.extend(run, by_s))


async def aretry(run: RunRef) -> RunInfo:
    """Run the spec of a run that has ended once more, and return the new run; see `retry`.

    Raises UnknownRun, BadInput (the run is not final), FleetUnreachable.
    """
    return await aside.answer(lambda _: calls.retry(run))


@overload
async def await_runs(runs: str | HasId, timeout_s: float | None = None) -> RunInfo: ...  # type: ignore[overload-overlap]
@overload
async def await_runs(runs: Iterable[RunRef], timeout_s: float | None = None) -> list[RunInfo]: ...
async def await_runs(runs: RunRef | Iterable[RunRef], timeout_s: float | None = None) -> RunInfo | list[RunInfo]:
    """Return a run, or several in the order given, once they have ended, however they ended; see `wait`.

    `timeout_s`: how many seconds to wait for all of them together. Raises UnknownRun, StillGoing.

    Example::

        first, second = await await_runs(["3fa2c1", "77b0"], timeout_s=600)
    """
    named, is_one = awaiting.listed(runs)
    ended = await aside.answer(lambda left: awaiting.in_order(settings.home(), named, Limit(timeout_s, left)))
    return ended[0] if is_one else ended


async def astream_logs(
    run: RunRef,
    *,
    follow: bool = True,
    stream: StreamName | None = None,
    attempt: int | None = None,
    tail: int | None = None,
    since: datetime | float | None = None,
) -> AsyncGenerator[OutputLine]:
    """Yield the output of a run as it comes, until the run has ended; options and errors are those of `stream_logs`.

    Who stops early closes it (`contextlib.aclosing`) or leaves that to the loop.

    Example::

        async for line in astream_logs("3fa2c1", tail=10):
            print(line)
    """
    wanted = calls.which(follow=follow, stream=stream, attempt=attempt, tail=tail, since=since)
    come = aside.Stream(lambda left: calls.read(run, Limit(left=left), wanted))
    try:
        async for line in come:
            yield line
    finally:
        come.leave()


async def asubmit(
    spec: RunSpec | Mapping[str, Any],
    *,
    task_id: str | None = None,
    countdown: float | None = None,
    eta: datetime | str | None = None,
    expires: float | datetime | str | None = None,
    link: Any = None,
    link_error: Any = None,
) -> RunResult:
    """Accept a spec durably and return its result, as `run_spec.apply_async` does with these options and errors.

    `await await_runs(result)` waits for it; the result's own `get()` would hold up the loop.

    Example::

        result = await asubmit({"command": "true"}, countdown=60)
    """
    submit = partial(
        run_spec.apply_async, (spec,), None, task_id,
        countdown=countdown, eta=eta, expires=expires, link=link, link_error=link_error,
    )  # fmt: skip
    return await aside.answer(lambda _: submit())


async def asubmit_many(specs: Iterable[RunSpec | Mapping[str, Any]]) -> RunResults:
    """Accept many specs in a few round trips, as `run_spec.map` does. All are refused when one is wrong."""
    named = list(specs)
    return await aside.answer(lambda _: run_spec.map(named))
