"""Safe mode: the ledger may have forgotten; this node says what it really holds, living attempts and kept ends.

There may be many kept ends: a turn presents some of them, so that the agent's other duties go on in between.
"""

from __future__ import annotations

import logging
from itertools import chain, islice
from typing import TYPE_CHECKING, Any

from infra_tasks import live
from infra_tasks.live import LiveAttempt, Token
from infra_tasks.report import told_state
from infra_tasks.runner.attempt import Attempt

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from infra_tasks.ledger import Ledger
    from infra_tasks.node import ThisNode
    from infra_tasks.settings import Home

# Folders looked at in a turn: a few milliseconds each hundred.
A_TURN = 300

log = logging.getLogger("infra_tasks.agent")


class Presentation:
    """One presentation from its beginning to its last word; a new one is made when the ledger asks again."""

    def __init__(self, ledger: Ledger, me: ThisNode) -> None:
        self._ledger = ledger
        self._me = me
        self._batches = _batches(chain(live.attempts(me.home), _ended(me.home)))
        self._said = 0

    def run_once(self) -> bool:
        """Present some more; True when all is said. Raises FleetUnreachable: begin anew then."""
        batch = next(self._batches, None)
        news = [one for one in batch or () if self._is_news(one)]
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

    def _is_news(self, one: LiveAttempt) -> bool:
        if not one.folder.exit_record():
            return True
        run = self._ledger.runs.get(one.token.run)
        return run is None or not (run.final or run.attempt > one.token.attempt)


def _ended(home: Home) -> Iterator[LiveAttempt]:
    """Every reported end that is still on this disk, of each run the last."""
    for folder in home.runs.iterdir() if home.runs.is_dir() else ():
        attempts = sorted(int(one.name) for one in folder.iterdir() if one.name.isdigit()) if folder.is_dir() else []
        for attempt in (Attempt(folder / str(number)) for number in attempts[-1:]):
            record = attempt.record()
            if record and attempt.exit_record():
                yield LiveAttempt(Token(folder.name, record["attempt"], record["claim"]), attempt)


def _said(one: LiveAttempt) -> dict[str, Any]:
    record = one.folder.record() or {}
    fields = {name: value for name, value in (record.get("fields") or {}).items() if name not in _THE_LEDGERS_OWN}
    said = {**one.token._asdict(), "ended": one.folder.exit_record() is not None}
    if fields and (told := told_state(one.folder, fields)):
        said["told"] = told
    return {**said, "fields": fields} if fields else said


# Restored fresh: what an attempt's record says of these was true only when it was claimed.
_THE_LEDGERS_OWN = frozenset({"state", "attempt", "claim", "cancel", "dispatch", "lease_until", "hints"})


def _batches(attempts: Iterable[LiveAttempt]) -> Iterator[list[LiveAttempt]]:
    rest = iter(attempts)
    while batch := list(islice(rest, A_TURN)):
        yield batch
