"""A run that its caller stays with: submitted, its output read along as lines, its end waited for."""

from __future__ import annotations

from contextlib import closing, suppress
from typing import TYPE_CHECKING, Any

from infra_tasks.awaiting import in_order, open_line
from infra_tasks.errors import InfraError
from infra_tasks.follow import Follower, Gap, Piece
from infra_tasks.ledger import open_ledger
from infra_tasks.ledger.connect import fleet_of
from infra_tasks.model.output_line import LineCutter
from infra_tasks.patience import patiently
from infra_tasks.submit import submission

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from infra_tasks.ledger.submission import Submission
    from infra_tasks.limit import Limit
    from infra_tasks.model.output_line import OutputLine, StreamName
    from infra_tasks.model.run_info import RunInfo
    from infra_tasks.model.spec import RunSpec
    from infra_tasks.settings import Home


class OwnRun:
    """One run, submitted by whoever waits for it. `id` is known from the start.

    Raises what a submit raises: BadSpec, FleetUnreachable, SubmitUnknown, IdempotencyConflict.
    """

    def __init__(self, home: Home, spec: RunSpec | Mapping[str, Any], limit: Limit) -> None:
        self._home, self._limit = home, limit
        self.id = _submitted(home, submission(spec, fleet_of(home), home=home))
        limit.waits_for([self.id])

    def lines(self) -> Iterator[OutputLine]:
        """Yield the output of all attempts, until the run is final. Raises StillGoing."""
        return lines(self._home, self.id, self._limit, attempt=1, onwards=True)

    def end(self) -> RunInfo:
        """Return the run once it is final. Raises StillGoing."""
        return in_order(self._home, [self], self._limit)[0]

    def leave(self, *, cancel: bool) -> str:
        """Wait no more; return what becomes of the run. `cancel`: ask it to stop."""
        if cancel:
            with suppress(InfraError), closing(open_ledger(self._home)) as ledger:
                ledger.runs.cancel(self.id, actor="run()")
                return f"run {self.id} was asked to stop"
        return f"run {self.id} goes on; `infra cancel {self.id}` or infra_tasks.cancel({self.id!r}) ends it"


def _submitted(home: Home, one: Submission) -> str:
    try:
        with closing(open_ledger(home)) as ledger:
            return ledger.runs.submit(one)
    except KeyboardInterrupt as error:
        error.add_note(f"run {one.id} was being handed over: it may have been accepted or not")
        raise


def lines(home: Home, run_id: str, limit: Limit, *, until_final: bool = True, **which: Any) -> Iterator[OutputLine]:
    """Yield what a `Follower` of these options reads, as lines; outages are waited out if it reads `until_final`."""
    cutter = LineCutter()
    with closing(open_line(home, limit)) as line:
        follower = Follower(home, line.ledger, run_id, until_final=until_final, **which)
        for found in patiently(line, follower, keep_waiting=until_final, pause=limit.pause):
            yield from _cut(cutter, found)
            limit.check()
    yield from cutter.end()


def _cut(cutter: LineCutter, found: Piece | Gap) -> list[OutputLine]:
    stream: StreamName = "stderr" if found.stream == "stderr" else "stdout"
    if isinstance(found, Piece):
        return cutter.add(stream, found.attempt, found.data)
    return cutter.gap(stream, found.attempt, _gap_words(found))


def _gap_words(gap: Gap) -> str:
    if gap.end is None:
        return (
            f"{gap.stream} of attempt {gap.attempt} cannot be had from byte {gap.offset} on: its node does not send it"
        )
    return f"{gap.end - gap.offset} bytes of {gap.stream} were dropped here: the output is larger than is kept"
