"""Runs somebody waits for: told as they become final, however long the fleet is away meanwhile."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol, cast

from infra_tasks.errors import BadInput, UnknownRun
from infra_tasks.follow import pause_s
from infra_tasks.ledger.connect import ANSWER_TIMEOUT_S
from infra_tasks.model.facts import silent_nodes
from infra_tasks.model.run import is_final
from infra_tasks.model.run_info import RunInfo
from infra_tasks.outputs.shelf import as_of_now
from infra_tasks.patience import Line, asked

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from infra_tasks.ledger import Ledger
    from infra_tasks.limit import Limit
    from infra_tasks.model.run_info import OutputsDict
    from infra_tasks.settings import Home

# Who waits for very many runs asks less often.
ASKED_EACH_SECOND = 10_000
TOLD_AT_ONCE = 500
SHORTEST_ANSWER_S = 0.5

log = logging.getLogger(__name__)


class HasId(Protocol):
    """What names a run by its whole id: the result of `delay()`, a RunInfo."""

    @property
    def id(self) -> str:
        """The whole id of the run."""


# A run id, a beginning of one that no other run shares, or what has an `id`.
RunRef = str | HasId


def open_line(home: Home, limit: Limit) -> Line:
    """Return a connection for somebody who waits: one that hangs is not waited for much longer than the limit."""
    within_s = ANSWER_TIMEOUT_S if limit.timeout_s is None else limit.timeout_s
    return Line(home, log.warning, answer_within_s=min(ANSWER_TIMEOUT_S, max(SHORTEST_ANSWER_S, within_s)))


def id_of(ledger: Ledger, run: RunRef) -> str:
    """Return the whole id. Raises UnknownRun, BadInput (this cannot name a run)."""
    if isinstance(run, str):
        return ledger.runs.known(run)
    found = getattr(run, "id", None)
    if not isinstance(found, str):
        raise BadInput(f"a run is named by its id, by the beginning of one, or by what has an `id`; found {run!r}")
    return found


def listed(runs: RunRef | Iterable[RunRef]) -> tuple[list[RunRef], bool]:
    """Return the runs meant, and whether it was one by itself: a text is an id, never several letters."""
    if isinstance(runs, Iterable) and not isinstance(runs, str):
        return list(runs), False
    return [runs], True


def info(home: Home, ledger: Ledger, run_id: str) -> RunInfo:
    """Return all that is known of a run now. Raises UnknownRun."""
    run = ledger.runs.get(run_id)
    if run is None:
        raise UnknownRun(f"no run has the id {run_id!r}; see `infra runs`")
    if run.final:
        return _with_outputs(home, RunInfo.of(run))
    return RunInfo.of(run, silent_nodes(ledger.nodes.all()), ledger.runs.events(run_id))


def as_they_end(home: Home, runs: Iterable[RunRef], limit: Limit) -> Generator[RunInfo]:
    """Yield each run once it is final, in the order in which they end. Raises UnknownRun, StillGoing."""
    with closing(open_line(home, limit)) as line:
        yield from _ends(home, line, _ids(line, runs, limit), limit)


def in_order(home: Home, runs: Iterable[RunRef], limit: Limit) -> list[RunInfo]:
    """Return all runs once they are final, in the order in which they were given. Raises UnknownRun, StillGoing."""
    with closing(open_line(home, limit)) as line:
        ids = _ids(line, runs, limit)
        found = {one.id: one for one in _ends(home, line, ids, limit)}
    return [found[run_id] for run_id in ids]


def _ids(line: Line, runs: Iterable[RunRef], limit: Limit) -> list[str]:
    named = list(runs)
    limit.waits_for([run if isinstance(run, str) else repr(run) for run in named])
    return asked(line, lambda ledger: [id_of(ledger, run) for run in named], limit.pause)


def _ends(home: Home, line: Line, ids: list[str], limit: Limit) -> Iterator[RunInfo]:
    going = dict.fromkeys(ids)
    limit.waits_for(going)
    quiet_turns = 0
    while going:
        ended = asked(line, lambda ledger: _ended(home, ledger, list(going)), limit.pause)
        for one in ended:
            del going[one.id]
            yield one
        quiet_turns = 0 if ended else quiet_turns + 1
        if going and len(ended) < TOLD_AT_ONCE:
            limit.pause(max(pause_s(quiet_turns), len(going) / ASKED_EACH_SECOND))


def _ended(home: Home, ledger: Ledger, ids: list[str]) -> list[RunInfo]:
    states = dict(zip(ids, ledger.runs.states(ids), strict=True))
    for run_id, state in states.items():
        if state is None:
            raise UnknownRun(f"no run has the id {run_id!r} (any more); see `infra runs`")
    ended = [run_id for run_id, state in states.items() if state and is_final(state)][:TOLD_AT_ONCE]
    return [_with_outputs(home, RunInfo.of(run)) for run in ledger.runs.get_many(ended)]


def _with_outputs(home: Home, said: RunInfo) -> RunInfo:
    """Return it with what has come home since the end of the run."""
    if said.outputs is None or said.outputs["brought"]:
        return said
    outputs = as_of_now(home, said.id, said.attempt, {**said.outputs})
    return replace(said, outputs=cast("OutputsDict", outputs))
