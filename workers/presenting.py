"""Safe mode: the ledger may have forgotten; this node says what it really holds, living attempts and kept ends."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from infra_tasks import live
from infra_tasks.live import LiveAttempt, Token
from infra_tasks.runner.attempt import Attempt

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from infra_tasks.ledger import Ledger
    from infra_tasks.node import ThisNode
    from infra_tasks.settings import Home

AT_ONCE = 100

log = logging.getLogger("infra_tasks.agent")


def present(ledger: Ledger, me: ThisNode) -> None:
    """Tell the ledger everything this node knows; ends it takes are reported again by the next turns."""
    kept = [one for one in _ended(me.home) if _is_news(ledger, one)]
    batches = list(_batches([*live.attempts(me.home), *kept])) or [[]]
    for number, batch in enumerate(batches, 1):
        said = ledger.claims.present(me.name, me.uuid, [_said(one) for one in batch], done=number == len(batches))
        for one in batch:
            if one.token.run in [*said["taken"], *said["known"]]:
                live.enter(me.home, one.token)
    log.warning("the ledger is in safe mode: presented %d attempts", sum(map(len, batches)))


def _ended(home: Home) -> Iterator[LiveAttempt]:
    """Every reported end that is still on this disk, of each run the last."""
    for folder in home.runs.iterdir() if home.runs.is_dir() else ():
        attempts = sorted(int(one.name) for one in folder.iterdir() if one.name.isdigit())
        for attempt in (Attempt(folder / str(number)) for number in attempts[-1:]):
            record = attempt.record()
            if record and attempt.exit_record():
                yield LiveAttempt(Token(folder.name, record["attempt"], record["claim"]), attempt)


def _is_news(ledger: Ledger, one: LiveAttempt) -> bool:
    run = ledger.runs.get(one.token.run)
    return run is None or not (run.final or run.attempt > one.token.attempt)


def _said(one: LiveAttempt) -> dict[str, Any]:
    record = one.folder.record() or {}
    fields = {name: value for name, value in (record.get("fields") or {}).items() if name not in _THE_LEDGERS_OWN}
    said = {**one.token._asdict(), "ended": one.folder.exit_record() is not None}
    return {**said, "fields": fields} if fields else said


# Restored fresh: what an attempt's record says of these was true only when it was claimed.
_THE_LEDGERS_OWN = frozenset({"state", "attempt", "claim", "cancel", "dispatch", "lease_until", "hints"})


def _batches(attempts: Iterable[LiveAttempt]) -> Iterator[list[LiveAttempt]]:
    by_token = list({one.token: one for one in attempts}.values())
    for first in range(0, len(by_token), AT_ONCE):
        yield by_token[first : first + AT_ONCE]
