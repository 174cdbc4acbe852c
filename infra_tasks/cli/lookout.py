"""Looks at the fleet again and again, in a thread that nobody ever waits for: who draws takes what was seen last."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

from infra_tasks.cli import spans
from infra_tasks.cli.path_text import path_text
from infra_tasks.errors import FleetUnreachable, InfraError
from infra_tasks.patience import Line

if TYPE_CHECKING:
    from collections.abc import Callable

    from infra_tasks.ledger import Ledger
    from infra_tasks.settings import Home

Seen = TypeVar("Seen")

LOOK_EVERY_S = 1.0
# Looking may take this part of a core at most, so that a large fleet is asked less often.
LOOKING_SHARE = 0.1
# No news for so long is worth a word.
WORTH_A_WORD_S = 3.0


class Sighting(NamedTuple, Generic[Seen]):
    """What was seen, and when (monotonic seconds)."""

    seen: Seen
    at: float


class Lookout(Generic[Seen]):
    """`latest`: what was seen last, None at first. `trouble`: why nothing is seen now, "" when all is well.

    `prepare` is called with every new connection and gives what looks; `wake` is called after every look. Looks come
    every `every_s` seconds, less often where looking would take more than `share` of a core.
    """

    def __init__(
        self,
        home: Home,
        prepare: Callable[[Ledger], Callable[[], Seen]],
        wake: Callable[[], object],
        *,
        every_s: float = LOOK_EVERY_S,
        share: float = LOOKING_SHARE,
    ) -> None:
        self.latest: Sighting[Seen] | None = None
        self.trouble = ""
        self._home, self._prepare, self._wake = home, prepare, wake
        self._every_s, self._share = every_s, share
        self._soon = threading.Event()
        # Since when an answer is waited for, however often it was asked for meanwhile.
        self._asked_at: float | None = None

    def start(self) -> None:
        """Begin. The thread ends with the process, wherever it stands then."""
        threading.Thread(target=self._run, name="lookout", daemon=True).start()

    def hurry(self) -> None:
        """Look again now: something was changed."""
        self._soon.set()

    def silent_s(self, now: float) -> float:
        """Return for how long an answer has been waited for; 0 when that is not worth a word. `now`: monotonic."""
        asked_at = self._asked_at
        silent_s = now - asked_at if asked_at is not None else 0.0
        return silent_s if silent_s > WORTH_A_WORD_S or self.trouble else 0.0

    def silence(self, now: float) -> str:
        """Return what to say of it, on one line; "" when it answers. `now`: monotonic seconds."""
        silent_s = self.silent_s(now)
        if not silent_s:
            return ""
        why = path_text(" ".join(self.trouble.split()))
        return f"the fleet has not answered for {spans.words(silent_s)}; waiting for it{f' ({why})' if why else ''}"

    def _run(self) -> None:
        line: Line | None = None
        look: Callable[[], Seen] | None = None
        of: Ledger | None = None
        while True:
            spent_s = time.thread_time()
            self._asked_at = self._asked_at or time.monotonic()
            try:
                line = line or Line(self._home, lambda _text: None)
                line.ledger.answers()
                if look is None or of is not line.ledger:
                    look, of = self._prepare(line.ledger), line.ledger
                seen = look()
            except Exception as error:  # noqa: BLE001  it must live, and what went wrong is told
                self.trouble = str(error)
                if line and isinstance(error, FleetUnreachable):
                    _connect_anew(line)
            else:
                self.latest, self.trouble, self._asked_at = Sighting(seen, time.monotonic()), "", None
            self._wake()
            self._soon.wait(max(self._every_s, (time.thread_time() - spent_s) / self._share))
            self._soon.clear()


def _connect_anew(line: Line) -> None:
    try:
        line.lost()
    except InfraError:  # nodes.json is broken right now
        return
