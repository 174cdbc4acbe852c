"""Waiting for a fleet that is away for a while: told once, never given up."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import TYPE_CHECKING

from infra_tasks.cli.terminal import note
from infra_tasks.errors import FleetUnreachable
from infra_tasks.follow import pause_s
from infra_tasks.ledger import open_ledger

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from infra_tasks.follow import Follower, Gap, Piece
    from infra_tasks.settings import Home


class Line:
    """The connection to the fleet, made anew while it is broken (an embedded Redis may come back on another port)."""

    def __init__(self, home: Home, say: Callable[[str], None] = note) -> None:
        self.ledger = open_ledger(home)
        self._home, self._say = home, say
        self._is_lost = False

    def lost(self) -> None:
        """Tell once that the fleet does not answer; try another connection."""
        if not self._is_lost:
            self._say("the fleet does not answer (Redis is away); what runs goes on, and so does this wait")
        self._is_lost = True
        with suppress(FleetUnreachable):
            ledger = open_ledger(self._home)
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


def patiently(
    line: Line,
    follower: Follower,
    *,
    keep_waiting: bool = True,
    pause: Callable[[float], object] = time.sleep,
) -> Iterator[Piece | Gap]:
    """Yield all that a follower reads, however long the fleet is away meanwhile (`keep_waiting`; else it raises)."""
    quiet_turns = 0
    try:
        while not follower.over:
            try:
                found = follower.turn()
            except FleetUnreachable:
                if not keep_waiting:
                    raise
                found = []
                line.lost()
                follower.use(line.ledger)
            if follower.reached:
                line.found()
            yield from found
            quiet_turns = 0 if found else quiet_turns + 1
            if not found and not follower.over:
                pause(pause_s(quiet_turns))
    finally:
        with suppress(FleetUnreachable):
            follower.close()
