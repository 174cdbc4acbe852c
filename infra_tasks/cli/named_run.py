"""Runs that a user named, wherever they are by now: in the ledger, or in the archive of this node."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from infra_tasks.errors import UnknownRun

if TYPE_CHECKING:
    from collections.abc import Sequence

    from infra_tasks.ledger import Ledger
    from infra_tasks.ledger.records import Event, Run
    from infra_tasks.settings import Home


@dataclass(frozen=True)
class NamedRun:
    """A run as it was found. `archived`: the ledger has forgotten it, this is what the archive of this node has."""

    run: Run
    events: Sequence[Event]
    archived: bool = False


def named_run(home: Home, ledger: Ledger, beginning: str) -> NamedRun:
    """Return the run whose id begins so, first of the ledger, then of the archive.

    Raises UnknownRun when neither has one, or several begin so; FleetUnreachable.
    """
    try:
        name = ledger.runs.known(beginning)
        found = ledger.runs.get(name)
    except UnknownRun as unknown:
        if unknown.several:
            raise
        return _archived(home, beginning, unknown)
    if found is None:
        return _archived(home, name, UnknownRun(f"run {beginning!r} was just removed from the history"))
    return NamedRun(found, ledger.runs.events(found.id))


def named_runs(home: Home, ledger: Ledger, beginnings: Sequence[str]) -> list[NamedRun]:
    """Return the runs in order, each once. Raises UnknownRun with a line for every name that is none or not clear."""
    found: dict[str, NamedRun] = {}
    wrong = []
    for beginning in dict.fromkeys(beginnings):
        try:
            one = named_run(home, ledger, beginning)
        except UnknownRun as error:
            wrong.append(str(error))
        else:
            found[one.run.id] = one
    if wrong:
        raise UnknownRun("\n".join(wrong))
    return list(found.values())


def past_run(home: Home, run_id: str) -> Run | None:
    """Return a run that the ledger has forgotten, if the archive of this node has it."""
    from infra_tasks.cli.archived import archived_run  # noqa: PLC0415  only of runs long gone

    try:
        past = archived_run(home, run_id)
    except UnknownRun:
        return None
    return past.run if past and past.run.id == run_id else None


def _archived(home: Home, beginning: str, unknown: UnknownRun) -> NamedRun:
    from infra_tasks.cli.archived import archived_run  # noqa: PLC0415  only of runs long gone

    past = archived_run(home, beginning)
    if past is None:
        raise _nowhere(home, unknown) from unknown
    return NamedRun(past.run, past.events, archived=True)


def _nowhere(home: Home, unknown: UnknownRun) -> UnknownRun:
    """Say where else it may be: the archive of a fleet can lie on several nodes."""
    from infra_tasks.ledger.glance import glance  # noqa: PLC0415

    if len(glance(home).nodes) == 1:
        return unknown
    return UnknownRun(f"{unknown} (if it has left the history, another node's archive may have it: ask there)")
