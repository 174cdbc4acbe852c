"""Signals while a run is waited for: Ctrl-C is counted instead of obeyed, and a closed terminal ends nothing."""

from __future__ import annotations

import signal
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType


class Interrupts:
    """How often Ctrl-C was pressed. The handler only counts; who waits looks at it."""

    def __init__(self) -> None:
        self.count = 0

    def hear(self, _signum: int, _frame: FrameType | None) -> None:
        """Count one."""
        self.count += 1


@contextmanager
def counted() -> Iterator[Interrupts]:
    """Count interrupts instead of being ended by them, and live on when the terminal is closed."""
    interrupts = Interrupts()
    before = {
        signal.SIGINT: signal.signal(signal.SIGINT, interrupts.hear),
        signal.SIGHUP: signal.signal(signal.SIGHUP, signal.SIG_IGN),
    }
    try:
        yield interrupts
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)
