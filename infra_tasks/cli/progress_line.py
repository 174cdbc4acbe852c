"""How far something is that takes more than a second: on a line that changes, or a line now and then in a log."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Self

from infra_tasks.cli.terminal import ChangingLine, note

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

# What is done within so long needs no word.
WORTH_A_WORD_S = 1.0
SHOW_EVERY_S = 0.1
NOTE_EVERY_S = 10.0


class ProgressLine:
    """Use as a context; `show` as often as you like."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._line, self._clock = ChangingLine(), clock
        self._due_at = clock() + (WORTH_A_WORD_S if self._line.able else NOTE_EVERY_S)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._line.clear()

    def clear(self) -> None:
        """Leave the line to what is printed next."""
        self._line.clear()

    def show(self, text: str) -> None:
        """Say how far it is, if it is time to."""
        now = self._clock()
        if now < self._due_at:
            return
        self._due_at = now + (SHOW_EVERY_S if self._line.able else NOTE_EVERY_S)
        if self._line.able:
            self._line.show(text)
        else:
            note(text)
