"""What this node has of its attempts: entries, folders, processes. Looked at in pieces, nothing is changed."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import TYPE_CHECKING

from infra_tasks import live
from infra_tasks.model.audit_here import AttemptSeen, AtWork, check_at_work, check_attempt, check_claim, check_folder
from infra_tasks.roles import read
from infra_tasks.runner.at_work import at_work
from infra_tasks.runner.attempt import Attempt

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from infra_tasks.live import LiveAttempt
    from infra_tasks.model.audit import Finding, Row
    from infra_tasks.node import ThisNode

PIECE = 100
DAY_S = 86400.0
# The agent looks for old folders once an hour, and begins with the day they become old.
FOLDER_MARGIN_S = 3600.0


class Here:
    """One look at this node, against rows of the ledger that `rows` gives."""

    def __init__(self, me: ThisNode, rows: Callable[[Sequence[str]], list[Row]]) -> None:
        self._me, self._home, self._rows = me, me.home, rows
        self._here_since = float(read(me.home.restored_json).get("made_at") or 0)
        self._keep_s = float(me.fleet.limits.keep_runs_days) * DAY_S - FOLDER_MARGIN_S

    def of_row(self, row: Row) -> Iterator[Finding]:
        """Check what this node should have of a run."""
        if row.f.get("claim_node") != self._me.name:
            return
        folder = self._home.attempt(row.id, int(row.f["attempt"] or 0))
        if row.held:
            entry = self._home.live / f"{row.id}@{row.f['attempt']}"
            yield from check_claim(row, self._me.name, entered=entry.exists())
        elif row.final and float(row.f.get("ended_at") or 0) > self._here_since:
            yield from check_folder(row, self._me.name, self._keep_s, there=folder.exists())

    def attempts(self) -> Iterator[list[Finding]]:
        """Check every attempt that is on the disk, a piece at a time."""
        piece: list[AttemptSeen] = []
        for seen in self._attempts_seen():
            piece.append(seen)
            if len(piece) == PIECE:
                yield self._checked(piece)
                piece = []
        yield self._checked(piece)

    def processes(self) -> list[Finding]:
        """Check every process that carries the cookie of a run of this node."""
        working = [AtWork(run, token, pids) for (run, token), pids in at_work(self._home.runs).items()]
        rows = self._rows([one.run for one in working])
        return [found for one, row in zip(working, rows, strict=True) for found in check_at_work(one, row)]

    def _checked(self, piece: Sequence[AttemptSeen]) -> list[Finding]:
        rows = self._rows([seen.run for seen in piece])
        return [found for seen, row in zip(piece, rows, strict=True) for found in check_attempt(seen, row)]

    def _attempts_seen(self) -> Iterator[AttemptSeen]:
        entered = {(one.token.run, one.token.attempt): one for one in live.attempts(self._home)}
        for one in entered.values():
            yield _seen(one, entered=True)
        for run in self._home.runs.iterdir() if self._home.runs.is_dir() else ():
            with suppress(OSError):
                for folder in run.iterdir():
                    if folder.name.isdigit() and (run.name, int(folder.name)) not in entered:
                        attempt = Attempt(folder)
                        claim = str((attempt.record() or {}).get("claim", ""))
                        token = live.Token(run.name, int(folder.name), claim)
                        yield _seen(live.LiveAttempt(token, attempt), entered=False)


def _seen(one: LiveAttempt, *, entered: bool) -> AttemptSeen:
    folder, end = one.folder, one.folder.exit_record()
    code, reported = (end or {}).get("exit_code"), folder.was_reported()
    return AttemptSeen(
        run=one.token.run,
        attempt=one.token.attempt,
        claim=one.token.claim,
        entered=entered,
        locked=not reported and folder.is_locked(),
        recorded=folder.record() is not None,
        reported=reported,
        ended_s=None if end is None else max(0.0, time.time() - float(end.get("ended_at") or 0)),
        code="" if code is None else str(code),
    )
