"""The clock all parties of a storm note moments on: it is the machine's, and nobody turns it."""

from __future__ import annotations

import sys
import time

_CLOCK = time.CLOCK_MONOTONIC if sys.platform == "darwin" else time.CLOCK_BOOTTIME


def now() -> float:
    """Return seconds since boot, sleep included."""
    return time.clock_gettime(_CLOCK)
