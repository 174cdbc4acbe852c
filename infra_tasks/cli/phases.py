"""The story of a run as phases: it waited, its code came, it queued, ran, was being killed, paused. Pure."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from infra_tasks.model.run import Reason, State, is_final

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from infra_tasks.ledger.records import Event

KINDS = {
    State.PENDING: "waiting",
    State.SYNCING: "sync",
    State.QUEUED: "queue",
    State.STARTED: "run",
    State.RETRY: "pause",
}
ASKED = {"cancel asked", "kill asked"}
_EXTENDED = re.compile(r"limit extended by (\S+) s to (\S+) s")  # as extend.lua writes it


@dataclass(frozen=True)
class Phase:
    """Part of a run's life; moments are wall seconds. `ended_at` None: it goes on.

    `attempt`: the one it belongs to, or leads to. `limit_s`: of a `run`, the limit it had when it ended.
    """

    kind: str
    attempt: int
    began_at: float
    ended_at: float | None
    limit_s: float | None = None

    def until(self, now: float) -> float:
        """Return where it ends, or has come to."""
        return max(self.began_at, now if self.ended_at is None else self.ended_at)

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        return asdict(self)


def phases(events: Sequence[Event], *, now: float, timeout_s: float, reason: str | None = None) -> list[Phase]:
    """Return what a run's story comes to, in order; `timeout_s` and `reason` are the run's as they are now."""
    found: list[Phase] = []
    attempt = 0
    moves = [event for event in events if event.from_state != event.to_state]
    for move, following in [*pairwise(moves), *((last, None) for last in moves[-1:])]:
        if is_final(move.to_state):
            break
        attempt = _attempt_of(move) or attempt
        belongs = attempt + (0 if _is_held(move) or move.to_state == State.RETRY else 1)
        phase = Phase(KINDS[State(move.to_state)], belongs, move.at, following.at if following else None)
        if phase.kind == "run":
            found += _run(phase, following, events, now, timeout_s, reason)
        else:
            found.append(phase)
    return found


def limit_at(events: Sequence[Event], moment: float, timeout_s: float) -> float:
    """Return the limit a run had at a moment; `timeout_s` is the one it has now."""
    extensions = list(_extensions(events))
    before = [to_s for at, _, to_s in extensions if at <= moment]
    if before:
        return before[-1]
    return extensions[0][2] - extensions[0][1] if extensions else timeout_s


def _run(
    phase: Phase, end: Event | None, events: Sequence[Event], now: float, timeout_s: float, reason: str | None
) -> Iterator[Phase]:
    """Give the phase in which a command ran, and the one in which it was being ended, if it was."""
    until = phase.until(now)
    limited = replace(phase, limit_s=limit_at(events, until, timeout_s))
    moments = [event.at for event in events if event.cause in ASKED and phase.began_at <= event.at < until]
    if end is None or _ran_into_its_limit(end, reason):
        moments.append(phase.began_at + (limited.limit_s or 0))
    killed_at = min(moments, default=until)
    if killed_at >= until:
        yield limited
    else:
        yield replace(limited, ended_at=killed_at)
        yield replace(phase, kind="kill", began_at=killed_at)


def _ran_into_its_limit(end: Event, reason: str | None) -> bool:
    return (reason if is_final(end.to_state) else end.cause) == Reason.TIMEOUT


def _attempt_of(event: Event) -> int:
    number = (event.token or "").partition(":")[0]
    return int(number) if number.isdigit() else 0


def _is_held(event: Event) -> bool:
    """Say whether a node holds the run from this event on (a dispatcher's SYNCING has no token)."""
    return event.to_state in {State.STARTED, State.SYNCING} and bool(event.token)


def _extensions(events: Sequence[Event]) -> Iterator[tuple[float, float, float]]:
    for event in events:
        if said := _EXTENDED.fullmatch(event.cause or ""):
            yield event.at, float(said[1]), float(said[2])
