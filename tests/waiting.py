"""The one way tests wait: for a condition, to a deadline, saying what did not hold."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

Found = TypeVar("Found")
LOOK_EVERY_S = 0.02
# Nobody is waited for less: a machine that is busy with something else takes long for anything.
AT_LEAST_S = 180


def eventually(check: Callable[[], Found], within_s: float = 30, said: str = "") -> Found:
    """Return the first truthy answer of `check`; fail after `within_s` seconds, naming what did not hold."""
    within_s = max(within_s, AT_LEAST_S)
    deadline = time.monotonic() + within_s
    while True:
        found = check()
        if found:
            return found
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {within_s} s: {said or check} (last answer: {found!r})")
        time.sleep(LOOK_EVERY_S)
