"""What Python code asks of runs: run one and stay with it, look, wait, read along, cancel.

    import infra_tasks

    infra_tasks.run({"command": ["python", "train.py"], "project": "trainer"}, print)

A run is named by its id, by a beginning of it that no other run shares, or by what has an `id` (the result of
`delay()`, a RunInfo). Every call may be made from any thread, and inside Celery tasks. Those that wait go on through
outages of Redis, as `.get()` does; the others raise FleetUnreachable when nothing answered for ten seconds. `acalls`
has the same for event loops.
"""

from __future__ import annotations

from contextlib import closing
from datetime import datetime
from typing import TYPE_CHECKING, Any, overload

from infra_tasks import awaiting, settings
from infra_tasks.awaiting import id_of
from infra_tasks.errors import BadInput, UnknownRun
from infra_tasks.follow import STREAMS
from infra_tasks.ledger import open_ledger
from infra_tasks.ledger.connect import fleet_of
from infra_tasks.limit import Limit
from infra_tasks.many import AsCompleted
from infra_tasks.own_run import OwnRun, lines
from infra_tasks.submit import again

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Mapping

    from infra_tasks.awaiting import HasId, RunRef
    from infra_tasks.model.output_line import OutputLine, StreamName
    from infra_tasks.model.run_info import RunInfo
    from infra_tasks.model.spec import RunSpec


def run(
    spec: RunSpec | Mapping[str, Any],
    on_output: Callable[[OutputLine], object] | None = None,
    *,
    timeout_s: float | None = None,
    check: bool = True,
    cancel_on_interrupt: bool = False,
) -> RunInfo:
    """Submit a spec and return the run once it has ended.

    `on_output` is called with every OutputLine as it comes, in this thread (`print` will do); what it raises ends the
    wait. `timeout_s`: how many seconds to wait, queueing included; the limit of the command itself is the spec's
    `timeout_s`. `check=False` returns a run that failed, too.

    Whatever ends the wait early - Ctrl-C, the timeout, an error of `on_output` - leaves the run alone, and the
    traceback names it. With `cancel_on_interrupt` the run is asked to stop then.

    Raises RunFailed, RunRevoked, StillGoing (`timeout_s` is over), and before anything runs BadSpec, FleetUnreachable,
    IdempotencyConflict, SubmitUnknown.

    Example::

        ended = run({"command": ["make", "report"], "project": "trainer", "timeout_s": 600}, print)
        print(ended.node, ended.duration_s)
    """
    own = OwnRun(settings.home(), spec, Limit(timeout_s))
    try:
        for line in own.lines() if on_output else ():
            if on_output:
                on_output(line)
        ended = own.end()
    except BaseException as error:
        error.add_note(own.leave(cancel=cancel_on_interrupt))
        raise
    return ended.check() if check else ended


def get(run: RunRef) -> RunInfo:
    """Return what is known of a run now. Raises UnknownRun, FleetUnreachable.

    Example::

        get("3fa2c1").state
    """
    home = settings.home()
    with closing(open_ledger(home)) as ledger:
        return awaiting.info(home, ledger, id_of(ledger, run))


@overload
def wait(runs: str | HasId, timeout_s: float | None = None) -> RunInfo: ...  # type: ignore[overload-overlap]
@overload
def wait(runs: Iterable[RunRef], timeout_s: float | None = None) -> list[RunInfo]: ...
def wait(runs: RunRef | Iterable[RunRef], timeout_s: float | None = None) -> RunInfo | list[RunInfo]:
    """Return a run, or several in the order given, once they have ended, however they ended (`RunInfo.check()` raises).

    `timeout_s`: how many seconds to wait for all of them together.
    Raises UnknownRun, StillGoing (the time is over; it names the runs that go on).

    Example::

        for ended in wait(["3fa2c1", "77b0"], timeout_s=600):
            ended.check()
    """
    named, is_one = awaiting.listed(runs)
    ended = awaiting.in_order(settings.home(), named, Limit(timeout_s))
    return ended[0] if is_one else ended


def as_completed(runs: Iterable[RunRef], timeout_s: float | None = None) -> AsCompleted:
    """Give runs as they end, however they end: to `for`, and in an event loop to `async for`.

    `timeout_s`: how many seconds to wait for all of them together, from now on. Raises UnknownRun, StillGoing.

    Example::

        for ended in as_completed(run_spec.map(specs)):
            print(ended.name, ended.state)
    """
    return AsCompleted(runs, timeout_s)


def cancel(run: RunRef, *, kill: bool = False) -> RunInfo:
    """Ask a run to stop, and return it as it is right after that.

    A run that waits is REVOKED at once. A command that runs gets SIGTERM and, when its grace is over (`kill=True`: at
    once), SIGKILL with all its processes; the wish is kept, also when its node cannot be reached now.
    Raises UnknownRun, FleetUnreachable. A run that is final stays as it is.

    Example::

        cancel("3fa2c1", kill=True)
    """
    home = settings.home()
    with closing(open_ledger(home)) as ledger:
        run_id = id_of(ledger, run)
        ledger.runs.cancel(run_id, actor="python", kill=kill)
        return awaiting.info(home, ledger, run_id)


def extend(run: RunRef, by_s: float) -> RunInfo:
    """Give a run more time, before it starts or while its command runs, and return it with its new `timeout_s`.

    `by_s`: so many seconds more; the fleet's ceiling (`limits.timeout_s` in nodes.json) holds.
    Raises UnknownRun, BadInput (above the ceiling, or the run is final), FleetUnreachable.

    Example::

        extend("3fa2c1", 600)
    """
    home = settings.home()
    with closing(open_ledger(home)) as ledger:
        run_id = id_of(ledger, run)
        ledger.runs.extend(run_id, by_s, ceiling_s=float(fleet_of(home).limits.timeout_s), actor="python")
        return awaiting.info(home, ledger, run_id)


def retry(run: RunRef) -> RunInfo:
    """Run the spec of a run that has ended once more, and return the new run; its `retry_of` is the old one.

    A project's code is taken as it is now. Raises UnknownRun, BadInput (the run is not final), FleetUnreachable.

    Example::

        wait(retry("3fa2c1")).check()
    """
    home = settings.home()
    with closing(open_ledger(home)) as ledger:
        old = ledger.runs.get(id_of(ledger, run))
        if old is None:
            raise UnknownRun(f"no run has the id {run!r}; see `infra runs`")
        new_id = ledger.runs.submit(again(old, fleet_of(home), home=home, actor="python"))
        return awaiting.info(home, ledger, new_id)


def stream_logs(
    run: RunRef,
    *,
    follow: bool = True,
    stream: StreamName | None = None,
    attempt: int | None = None,
    tail: int | None = None,
    since: datetime | float | None = None,
) -> Generator[OutputLine]:
    """Yield the output of a run as it comes, until the run has ended.

    `follow=False`: what there is now, and no waiting for outages of Redis. `stream`: "stdout" or "stderr"; else both.
    `attempt`: only this one, from 1; else the newest and all that follow it. `tail`: of each stream only the last so
    many lines, and what comes then. `since`: only what was written after this moment (a datetime, or seconds since
    1970; up to a second's output from before comes with it).

    Raises UnknownRun, FleetUnreachable, BadInput (no such attempt, a wrong option).

    Example::

        for line in stream_logs("3fa2c1", tail=10):
            print(line.stream, line.text)
    """
    return read(run, Limit(), which(follow=follow, stream=stream, attempt=attempt, tail=tail, since=since))


def read(run: RunRef, limit: Limit, wanted: Mapping[str, Any]) -> Generator[OutputLine]:
    """Yield the lines of a run that are `wanted` (see `which`), as long as the limit lets."""
    home = settings.home()
    with closing(open_ledger(home)) as ledger:
        run_id = id_of(ledger, run)
    yield from lines(home, run_id, limit, **wanted)


def which(
    *,
    follow: bool,
    stream: StreamName | None,
    attempt: int | None,
    tail: int | None,
    since: datetime | float | None,
) -> dict[str, Any]:
    """Return what `stream_logs` was asked for as `lines` takes it. Raises BadInput."""
    if stream not in {None, *STREAMS}:
        raise BadInput(f"stream: found {stream!r}; allowed: 'stdout', 'stderr', or None (both)")
    if attempt is not None and (isinstance(attempt, bool) or not isinstance(attempt, int) or attempt < 1):
        raise BadInput(f"attempt: found {attempt!r}; allowed: a number from 1, or None (the newest)")
    return {
        "until_final": follow,
        "streams": (stream,) if stream else STREAMS,
        "attempt": attempt,
        "tail": tail,
        "since": since.timestamp() if isinstance(since, datetime) else since,
    }
