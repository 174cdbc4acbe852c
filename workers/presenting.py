"""Safe mode: the ledger may have forgotten; this node says what it really holds, living attempts and kept ends.

There may be many kept ends: a turn presents some of them, so that the agent's other duties go on in between.
"""

from __future__ import annotations

import logging
import os
import time
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeVar

from infra_tasks import live
from infra_tasks.live import LiveAttempt, Token
from infra_tasks.report import told_state
from infra_tasks.runner.attempt import Attempt

if TYPE_CHECKING:
    from collections.abc import Iterator

    from infra_tasks.ledger import Ledger
    from infra_tasks.node import ThisNode
    from infra_tasks.settings import Home

# Runs asked about in a turn, in one question: the claims of the whole fleet wait for this node's last word, and a week
# of kept ends is on its disk. Few of them are news; only of these the files are read, some milliseconds each hundred.
ASKED_IN_A_TURN = 2000
SAID_IN_A_TURN = 300
DAY_S = 86400.0

log = logging.getLogger("infra_tasks.agent")

Thing = TypeVar("Thing")


class Presentation:
    """One presentation from its beginning to its last word; a new one is made when the ledger asks again."""

    def __init__(self, ledger: Ledger, me: ThisNode) -> None:
        self._ledger = ledger
        self._me = me
        self._batches = self._all()
        self._said = 0

    def run_once(self) -> bool:
        """Present some more; True when all is said. Raises FleetUnreachable: begin anew then."""
        batch = next(self._batches, None)
        news = self._news(batch or [])
        self._said += len(news)
        said = self._ledger.claims.present(
            self._me.name, self._me.uuid, [_said(one) for one in news], done=batch is None
        )
        for one in news:
            if one.token.run in [*said["taken"], *said["known"]]:
                live.enter(self._me.home, one.token)
        if batch is None:
            log.warning("the ledger asked what this node holds: presented %d attempts", self._said)
        return batch is None

    def _all(self) -> Iterator[list[LiveAttempt]]:
        """What lives, then the kept ends of those runs whose end the ledger does not know; a turn each."""
        yield list(live.attempts(self._me.home))
        for runs in _some_at_a_time(_runs(self._me.home), ASKED_IN_A_TURN):
            final = {run.id for run in self._ledger.runs.some(runs, ("state",)) if run.final}
            ended = (one for run in runs if run not in final for one in _last_end(self._me.home, run))
            yield from _some_at_a_time(ended, SAID_IN_A_TURN) if len(final) < len(runs) else [[]]

    def _news(self, attempts: list[LiveAttempt]) -> list[LiveAttempt]:
        """What lives, and of what ended what the ledger does not know, or knows an earlier attempt of."""
        known = {
            run.id: run for run in self._ledger.runs.some([one.token.run for one in attempts], ("state", "attempt"))
        }

        def is_news(one: LiveAttempt) -> bool:
            run = known.get(one.token.run)
            if run is None:
                return not self._has_left_the_history(one)
            return not (run.final or run.attempt > one.token.attempt)

        return [one for one in attempts if not one.folder.exit_record() or is_news(one)]

    def _has_left_the_history(self, one: LiveAttempt) -> bool:
        """Say whether it was reported so long ago that the ledger forgot it as it should: it must not begin anew."""
        try:
            reported_at = (one.folder.folder / "reported").stat().st_mtime
        except OSError:
            return False
        return reported_at < time.time() - float(self._me.fleet.limits.history_days) * DAY_S


def _some_at_a_time(many: Iterator[Thing], most: int) -> Iterator[list[Thing]]:
    while part := list(islice(many, most)):
        yield part


def _runs(home: Home) -> Iterator[str]:
    """The names of all runs with a folder on this disk."""
    return (one.name for one in os.scandir(home.runs)) if home.runs.is_dir() else iter(())


def _last_end(home: Home, run: str) -> Iterator[LiveAttempt]:
    """The last attempt of a run on this disk that has ended; one that only asks for a claim may have a folder, too."""
    folder = home.runs / run
    numbers = sorted((int(one.name) for one in folder.iterdir() if one.name.isdigit()), reverse=True)
    attempts = (Attempt(folder / str(number)) for number in numbers)
    ended = ((record, one) for one in attempts if (record := one.record()) and one.exit_record())
    for record, attempt in islice(ended, 1):
        yield LiveAttempt(Token(run, record["attempt"], record["claim"]), attempt)


def _said(one: LiveAttempt) -> dict[str, Any]:
    record = one.folder.record() or {}
    fields = {name: value for name, value in (record.get("fields") or {}).items() if name not in _THE_LEDGERS_OWN}
    said = {**one.token._asdict(), "ended": one.folder.exit_record() is not None}
    if fields and (told := told_state(one.folder, fields)):
        said["told"] = told
    return {**said, "fields": fields} if fields else said


# Restored fresh: what an attempt's record says of these was true only when it was claimed.
_THE_LEDGERS_OWN = frozenset({"state", "attempt", "claim", "cancel", "dispatch", "lease_until", "hints"})
