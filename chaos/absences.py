"""From when until when a node's leased attempts may have been stopped, or given to others. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from chaos.beds.door import LEASE
from chaos.checker import THAWED_S, Absence

if TYPE_CHECKING:
    from collections.abc import Iterable

RENEWED_S = 3.0
"""A lease is this old at most while its node speaks; so long after a cut it does again. On a busy machine."""
RECOVERS_S = 10.0
"""So long after any strike a node, or Redis, is not itself again."""
STOPS_AFTER_S = LEASE["stop_after_s"] - RENEWED_S
LOST_AFTER_S = LEASE["lost_after_s"] - RENEWED_S


class Away(NamedTuple):
    """A node was cut off, or frozen."""

    node: str
    since: float
    until: float
    frozen: bool = False


def absences(spans: Iterable[Away], struck: Iterable[Away] = ()) -> tuple[Absence, ...]:
    """Return what is to be allowed for; nothing for what was too short for any harm.

    `struck`: when else a node (all: "") was struck. That alone excuses nothing; but what came to its end then could not
    be told before a cut that began meanwhile.

    A shim goes on while its node is cut off, to the moment at which it stops its command. One that was frozen stops it
    when it is thawed, be the command's work all but done, or only about to begin.
    """
    found, others = [], list(struck)
    for one in _merged(spans):
        away_s = one.until - one.since
        if one.frozen and away_s > STOPS_AFTER_S:
            found.append(Absence(one.node, one.since, one.until + THAWED_S))
        elif away_s > LOST_AFTER_S:
            found.append(Absence(one.node, _untold_since(one, others), one.until))
        elif away_s > STOPS_AFTER_S:
            found.append(Absence(one.node, one.since + STOPS_AFTER_S, one.until))
    return tuple(found)


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
