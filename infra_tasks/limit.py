"""How long somebody waits: to a limit, and only as long as nobody leaves."""

from __future__ import annotations

import math
import time
from threading import Event
from typing import TYPE_CHECKING

from infra_tasks.errors import BadInput, StillGoing

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

MOST_NAMED = 5


class NobodyWaits(Exception):
    """Whoever wanted to know has left (its task was cancelled): end what was done for it."""


class Limit:
    """A span to wait, from now on; without one, for ever. `left`: set by another thread when nobody waits any more."""

    def __init__(
        self,
        timeout_s: float | None = None,
        left: Event | None = None,
        clock: Callable[[], float] = time.monotonic,
        *,
        began_at: float | None = None,
    ) -> None:
        if timeout_s is not None and (isinstance(timeout_s, bool) or not (timeout_s >= 0 and math.isfinite(timeout_s))):
            raise BadInput(f"timeout_s: found {timeout_s!r}; allowed: seconds to wait, 0 or more, or None (no limit)")
        self.timeout_s = timeout_s
        self._left, self._clock = left or Event(), clock
        self._began_at = clock() if began_at is None else began_at
        self.waits_for(())

    def until(self, left: Event) -> Limit:
        """Return this limit for somebody who says by that event that nobody waits any more."""
        return Limit(self.timeout_s, left, self._clock, began_at=self._began_at)

    def waits_for(self, going: Collection[str]) -> None:
        """Say which runs are waited for; the collection may shrink meanwhile."""
        self._going, self._of = going, len(going)

    def pause(self, span_s: float) -> None:
        """Wait a moment. Raises StillGoing, NobodyWaits."""
        self._left.wait(span_s if self.timeout_s is None else max(0.0, min(span_s, self._remaining_s(self.timeout_s))))
        self.check()

    def check(self) -> None:
        """Raise StillGoing when the span is over, NobodyWaits when nobody waits."""
        if self._left.is_set():
            raise NobodyWaits
        if self.timeout_s is not None and self._remaining_s(self.timeout_s) <= 0:
            raise StillGoing(_told(list(self._going), self._of, self.timeout_s), self._going)

    def _remaining_s(self, timeout_s: float) -> float:
        return self._began_at + timeout_s - self._clock()


def _told(going: list[str], of: int, timeout_s: float) -> str:
    more = f" and {len(going) - MOST_NAMED} more" if len(going) > MOST_NAMED else ""
    if of == 1:
        return f"run {going[0]} is still going after {timeout_s:g} s of waiting; it goes on"
    return (
        f"{len(going)} of {of} runs are still going after {timeout_s:g} s of waiting: {', '.join(going[:MOST_NAMED])}"
        f"{more}; they go on"
    )
