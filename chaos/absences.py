"""From when until when a node's leased attempts may have been stopped, or given to others. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from chaos.beds.door import LEASE
from chaos.checker import THAWED_S, Absence

if TYPE_CHECKING:
    from collections.abc import Iterable

    from chaos.checker import Thaw

RENEWED_S = 5.0
"""So old is a lease when its node goes away, and so long after a cut it is renewed, both together at most: a second
from renewal to renewal, three until a connection that fell silent is given up. On a busy machine."""
TOLD_WITHIN_S = 5.0
"""So long after its last note the end of a command may be known to nobody but its node: its shim writes it to the disk,
its worker tells it. On a busy machine. Whoever is away from then on for longer than a lease cannot tell it in time."""
RECOVERS_S = 10.0
"""So long after any strike a node, or Redis, is not itself again."""
STOPS_AFTER_S = LEASE["stop_after_s"] - RENEWED_S
LOST_AFTER_S = LEASE["lost_after_s"] - RENEWED_S
LEAP_S = 10.0
"""So much of every lease is gone when the clock of Redis is turned ahead, by however much."""


class Away(NamedTuple):
    """A node was cut off, or frozen."""

    node: str
    since: float
    until: float
    frozen: bool = False


def absences(spans: Iterable[Away], struck: Iterable[Away] = (), leaps: Iterable[float] = ()) -> tuple[Absence, ...]:
    """Return what is to be allowed for; nothing for what was too short for any harm.

    `struck`: when else a node (all: "") was struck. That alone excuses nothing; but what came to its end then could not
    be told before a cut that began meanwhile. `leaps`: when the clock of Redis was turned ahead.

    A shim goes on while its node is cut off, to the moment at which it stops its command. One that was frozen stops it
    when it is thawed, be the command's work all but done, or only about to begin.
    """
    found, others, ahead = [], list(struck), tuple(leaps)
    for one in _merged(spans):
        lost = _outlasts_a_lease(one, ahead)
        untold_since = min(one.since - TOLD_WITHIN_S, _untold_since(one, others)) if lost else one.since
        away_s = one.until - one.since
        if one.frozen and (lost or away_s > STOPS_AFTER_S):
            found.append(Absence(one.node, untold_since, one.until + THAWED_S))
        elif lost:
            found.append(Absence(one.node, untold_since, one.until))
        elif away_s > STOPS_AFTER_S:
            found.append(Absence(one.node, one.since + STOPS_AFTER_S, one.until))
    return tuple(found)


def behind_a_lease(thaws: Iterable[Thaw], spans: Iterable[Away], leaps: Iterable[float] = ()) -> tuple[Thaw, ...]:
    """Return those of the thaws by which what the node had may be somebody else's."""
    ahead = tuple(leaps)
    lost = [one for one in _merged(spans) if _outlasts_a_lease(one, ahead)]
    return tuple(
        thaw for thaw in thaws if any(one.node == thaw.node and one.since <= thaw.at <= one.until for one in lost)
    )


def _outlasts_a_lease(one: Away, leaps: tuple[float, ...]) -> bool:
    leapt = sum(one.since - RENEWED_S <= at <= one.until + RENEWED_S for at in leaps)
    return one.until - one.since > LOST_AFTER_S - leapt * LEAP_S


def _untold_since(one: Away, struck: list[Away]) -> float:
    then = [other.since for other in struck if other.node in ("", one.node) and other.since <= one.since <= other.until]
    return min(then, default=one.since)


def _merged(spans: Iterable[Away]) -> list[Away]:
    """Who was away twice with hardly a word between was away all the time."""
    merged: list[Away] = []
    for one in sorted(spans):
        last = merged[-1] if merged else None
        if last and last.node == one.node and one.since <= last.until + RENEWED_S:
            merged[-1] = Away(one.node, last.since, max(last.until, one.until), last.frozen or one.frozen)
        else:
            merged.append(one)
    return merged
