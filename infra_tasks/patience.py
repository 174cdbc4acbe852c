"""Waiting for a fleet that is away for a while: told once, never given up."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import TYPE_CHECKING, TypeVar

from infra_tasks.errors import FleetUnreachable
from infra_tasks.follow import pause_s
from infra_tasks.ledger import open_ledger
from infra_tasks.ledger.connect import ANSWER_TIMEOUT_S

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from infra_tasks.follow import Follower, Gap, Piece
    from infra_tasks.ledger import Ledger
    from infra_tasks.settings import Home

ASK_AGAIN_S = 0.2

Answer = TypeVar("Answer")


class Line:
    """The connection to the fleet, made anew while it is broken (an embedded Redis may come back on another port).

    `say` is told, once each, that the fleet is away and that it is back.
    """

    def __init__(self, home: Home, say: Callable[[str], object], *, answer_within_s: float = ANSWER_TIMEOUT_S) -> None:
        self.ledger = open_ledger(home, answer_within_s=answer_within_s)
        self._home, self._say, self._answer_within_s = home, say, answer_within_s
        self._is_lost = False

    def lost(self) -> None:
        """Tell once that the fleet does not answer; try another connection."""
        if not self._is_lost:
            self._say("the fleet does not answer (Redis is away); what runs goes on, and so does this wait")
        self._is_lost = True
        with suppress(FleetUnreachable):
            ledger = open_ledger(self._home, answer_within_s=self._answer_within_s)
            self.ledger.close()
            self.ledger = ledger

    def found(self) -> None:
        """Tell once that the fleet is back."""
        if self._is_lost:
            self._say("the fleet answers again")
        self._is_lost = False

    def close(self) -> None:
        """Give the connection back."""
        self.ledger.close()


def asked(line: Line, ask: Callable[[Ledger], Answer], pause: Callable[[float], object] = time.sleep) -> Answer:
    """Return what `ask` finds in the ledger, however long the fleet is away meanwhile."""
    while True:
        try:
            line.ledger.answers()
            answer = ask(line.ledger)
        except FleetUnreachable:
            line.lost()
            pause(ASK_AGAIN_S)
        else:
            line.found()
            return answer


def patiently(
    line: Line,
    follower: Follower,
    *,
    keep_waiting: bool = True,
    pause: Callable[[float], object] = time.sleep,
) -> Iterator[Piece | Gap]:
    """Yield all that a follower reads, however long the fleet is away meanwhile (`keep_waiting`; else it raises)."""
    for _, found in together(line, [follower], keep_waiting=keep_waiting, pause=pause):
        if found is not None:
            yield found


def together(
    line: Line,
    followers: Sequence[Follower],
    *,
    keep_waiting: bool = True,
    pause: Callable[[float], object] = time.sleep,
) -> Iterator[tuple[Follower, Piece | Gap | None]]:
    """Yield what several followers read, by turns, and None for each that has read all; else as `patiently`."""
    reading, quiet_turns = list(followers), 0
    try:
        while reading:
            heard = False
            for follower in reading:
                for found in _turn(line, follower, reading, keep_waiting=keep_waiting):
                    heard = True
                    yield follower, found
            if all(follower.reached for follower in reading):
                line.found()
            yield from ((follower, None) for follower in reading if follower.over)
            reading = [follower for follower in reading if not follower.over]
            quiet_turns = 0 if heard else quiet_turns + 1
            if reading and not heard:
                pause(pause_s(quiet_turns))
    finally:
        with suppress(FleetUnreachable):
            for follower in followers:
                follower.close()


def _turn(line: Line, follower: Follower, reading: Sequence[Follower], *, keep_waiting: bool) -> list[Piece | Gap]:
    try:
        return follower.turn()
    except FleetUnreachable:
        if not keep_waiting:
            raise
    line.lost()
    for each in reading:
        each.use(line.ledger)
    return []
