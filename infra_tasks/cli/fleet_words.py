"""Tells, once each, that the fleet is away and that it is back, to somebody who waits for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

AWAY = "the fleet does not answer (Redis is away); what runs goes on, and so does this wait"
BACK = "the fleet answers again"


class FleetWords:
    """`say` is given the words."""

    def __init__(self, say: Callable[[str], object]) -> None:
        self._say = say
        self._is_away = False

    def hear(self, *, away: bool) -> None:
        """Take note of how it is now."""
        if away != self._is_away:
            self._is_away = away
            self._say(AWAY if away else BACK)
