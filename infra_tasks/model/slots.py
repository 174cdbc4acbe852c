"""Which slots of a schedule are to be fired now: never one twice, none lost but by its own policy. Pure.

Moments are seconds since 1970 by the clock of Redis, which may stand still, leap and go back.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from infra_tasks.model.timetable import Timetable

Missed = Literal["skip", "one", "all"]
Overlap = Literal["skip", "queue", "cancel", "allow"]

# A slot is on time so long, and until the next one: a dead beat is replaced after half of it.
LATE_AFTER_S = 60
# Of slots that were missed, so many are looked at; `all` fires no more than these.
MOST_MISSED = 100
# Slots that wait for the run before them.
MOST_WAITING = 100
# Where more than this was left out, the clock may have been wrong: those slots may still come.
LEAP_S = 600
MOST_SPANS = 50


@dataclass(frozen=True)
class Standing:
    """How far a schedule is.

    `of`: the words of its timetable. `last`: slots up to here are no longer due. `done`: spans of slots that were dealt
    with, the latest last: a clock that goes back comes by them again. `waiting`: slots to be fired, oldest first.
    """

    of: str
    last: float
    done: tuple[tuple[float, float], ...] = ()
    waiting: tuple[int, ...] = ()

    @classmethod
    def begun(cls, table: Timetable, now: float) -> Standing:
        """Return the standing of a schedule that is new: its first slot is one after `now`."""
        return cls(table.words, now)

    @classmethod
    def of_json(cls, said: Mapping[str, Any]) -> Standing:
        """Return what `as_json` made."""
        done = tuple((float(first), float(last)) for first, last in said["done"])
        return cls(said["of"], float(said["last"]), done, tuple(said["waiting"]))

    def as_json(self) -> dict[str, Any]:
        """Return it for a record."""
        return {"of": self.of, "last": self.last, "done": self.done, "waiting": self.waiting}

    def again(self, table: Timetable, now: float) -> Standing:
        """Return how it goes on after a pause or a change of its timetable: with what comes after `now`."""
        return replace(self, of=table.words, last=now, waiting=())

    def is_done(self, slot: int) -> bool:
        """Say whether a slot was dealt with."""
        return any(first <= slot <= last for first, last in self.done)


@dataclass(frozen=True)
class Looked:
    """What a look at the clock gave. `passed_over`: slots that were missed and are not fired (at most 100 counted)."""

    standing: Standing
    passed_over: int = 0


def look(table: Timetable, standing: Standing, now: float, missed: Missed) -> Looked:
    """Put what is due into `waiting`."""
    if standing.of != table.words:
        return Looked(standing.again(table, now))
    if now < standing.last:
        return Looked(replace(standing, last=now))
    due = table.upto(now, standing.last, MOST_MISSED)
    if not due:
        return Looked(standing)
    new = [slot for slot in due if not standing.is_done(slot)]
    fired = _by_policy(new, now, missed)
    waiting = (*standing.waiting, *fired)
    ahead = replace(standing, last=due[-1], done=_done(standing, fired, due), waiting=waiting[-MOST_WAITING:])
    return Looked(ahead, len(new) - len(fired) + max(0, len(waiting) - MOST_WAITING))


def _by_policy(new: list[int], now: float, missed: Missed) -> list[int]:
    """Return which of the slots that nobody dealt with yet are fired; the newest may be on time."""
    if missed == "all":
        return new
    is_late = bool(new) and now - new[-1] > LATE_AFTER_S
    return [] if missed == "skip" and is_late else new[-1:]


def _done(standing: Standing, fired: list[int], due: list[int]) -> tuple[tuple[float, float], ...]:
    """Return the spans with what was just dealt with; what a leap left out is not in them."""
    before = standing.done[-1] if standing.done else (standing.last, standing.last)
    begin = fired[0] if fired else due[-1]
    if begin - standing.last <= LEAP_S and before[1] == standing.last:
        return (*standing.done[:-1], (before[0], due[-1]))
    return (*standing.done, (begin, due[-1]))[-MOST_SPANS:]


class Do(StrEnum):
    """What is to be done about the slots that wait."""

    NOTHING = "nothing"
    FIRE = "fire"
    DROP = "drop"  # the run before goes on, and these slots are left out
    CANCEL = "cancel"  # the run before is asked to end


@dataclass(frozen=True)
class Move:
    """One thing to do: `standing` is how it is once that is done; `slot` is the one to fire."""

    do: Do
    standing: Standing
    slot: int = 0
    passed_over: int = 0


def move(standing: Standing, overlap: Overlap, *, goes_on: bool) -> Move:
    """Return what to do next. `goes_on`: the run of the slot before has not ended."""
    waiting = standing.waiting
    if not waiting:
        return Move(Do.NOTHING, standing)
    if goes_on and overlap == "queue":
        return Move(Do.NOTHING, standing)
    if goes_on and overlap == "skip":
        return Move(Do.DROP, replace(standing, waiting=()), passed_over=len(waiting))
    if overlap == "cancel":
        newest = replace(standing, waiting=waiting[-1:])
        if len(waiting) > 1:
            return Move(Do.DROP, newest, passed_over=len(waiting) - 1)
        return Move(Do.CANCEL, newest) if goes_on else Move(Do.FIRE, replace(standing, waiting=()), waiting[-1])
    return Move(Do.FIRE, replace(standing, waiting=waiting[1:]), waiting[0])
