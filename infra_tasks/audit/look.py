"""An audit: one look at everything, and another one at what was found. What moved in between was no exception."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from infra_tasks.audit.here import PIECE, Here
from infra_tasks.model import outcome
from infra_tasks.model.audit import (
    Finding,
    Remedy,
    check_run,
    check_sums,
    for_nobody,
    needs_hint,
    without_hint,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from infra_tasks.ledger import Ledger
    from infra_tasks.model.audit import Row, Sums
    from infra_tasks.node import ThisNode

# Longer than a turn of the sweep and of every agent.
LOOK_AGAIN_S = 3.0
# What is kept of what is found; beyond that it is only counted.
MOST = 10_000


@dataclass(frozen=True)
class Audit:
    """What came of it. `more`: exceptions that were only counted. `safe`: the nodes that safe mode waits for."""

    sums: Sums
    findings: Sequence[Finding]
    looked: int
    more: int = 0
    safe: Sequence[str] | None = None

    @property
    def clean(self) -> bool:
        """Nothing is off."""
        return not self.findings and self.safe is None


class Auditor:
    """Audits the ledger and this node. `tell` is told how far it is: what, so many of so many."""

    def __init__(
        self,
        ledger: Ledger,
        me: ThisNode,
        tell: Callable[[str, int, int], object] = lambda *_: None,
        pause: Callable[[float], object] = time.sleep,
    ) -> None:
        self._ledger, self._auditing, self._tell, self._pause = ledger, ledger.auditing, tell, pause
        self._here = Here(me, self._auditing.rows)
        self._looked = 0
        self._more = 0

    def run(self) -> Audit:
        """Look at everything, and again at what was found. Raises FleetUnreachable."""
        safe = self._ledger.nodes.safe_mode()
        first = self._kept(self._everything())
        if not first:
            return Audit(self._auditing.sums(), [], self._looked, safe=safe)
        self._pause(LOOK_AGAIN_S)
        again = {found.same for found in self._again(first)}
        sums = self._auditing.sums()
        # Of the sums only the second look counts: each of them is read at one moment.
        findings = [*check_sums(sums), *(found for found in first if found.run is not None and found.same in again)]
        return Audit(sums, findings, self._looked, self._more, safe)

    def _kept(self, found: Iterable[Finding]) -> list[Finding]:
        kept: dict[tuple[str, str | None, str], Finding] = {}
        for one in found:
            if len(kept) < MOST or one.same in kept:
                kept.setdefault(one.same, one)
            else:
                self._more += 1
        return list(kept.values())

    def _everything(self) -> Iterator[Finding]:
        sums = self._auditing.sums()
        wrong = list(check_sums(sums))
        yield from wrong
        late: dict[str, str] = {}
        cordoned = self._cordoned()
        for rows in self._auditing.all():
            self._looked += len(rows)
            self._tell("runs", self._looked, sums.cards["ids"])
            for row in rows:
                yield from self._of_row(row)
                queue = needs_hint(row, cordoned)
                if queue:
                    late[row.id] = queue
        yield from self._strays(sums_are_wrong=bool(wrong))
        yield from self._hints(late)
        yield from self._slots()
        yield from self._on_this_node()

    def _of_row(self, row: Row) -> Iterator[Finding]:
        yield from check_run(row, outcome.KEEP_S)
        yield from self._here.of_row(row)

    def _strays(self, *, sums_are_wrong: bool) -> Iterator[Finding]:
        ids = list(self._auditing.unlisted()) + (list(self._auditing.strays()) if sums_are_wrong else [])
        for row in self._auditing.rows(sorted(set(ids))):
            yield from check_run(row, outcome.KEEP_S)

    def _hints(self, late: dict[str, str]) -> Iterator[Finding]:
        """Read the queues of the broker: runs that wait long must be in them, and what is in them must be known."""
        missing = dict(late)
        for queue in self._ledger.nodes.pools():
            for piece in self._auditing.hints(queue):
                for run_id, _ in piece:
                    missing.pop(run_id, None)
                plain = [run_id for run_id, is_plain in piece if is_plain]
                yield from (for_nobody(run_id, queue) for run_id in self._auditing.unknown(plain))
        yield from map(without_hint, missing)

    def _slots(self) -> Iterator[Finding]:
        for node in self._ledger.nodes.all():
            for row in self._auditing.rows(self._auditing.slots(node.name)):
                if not row.held or row.f["claim_node"] != node.name:
                    said = f"{row.state or 'unknown'}, and {node.name} counts a slot for it"
                    yield Finding("slot", row.id, said, "no slot", Remedy.MEND, node.name)

    def _on_this_node(self) -> Iterator[Finding]:
        for looked, found in enumerate(self._here.attempts(), 1):
            self._tell("attempts on this node", looked * PIECE, looked * PIECE)
            yield from found
        yield from self._here.processes()

    def _again(self, first: Sequence[Finding]) -> Iterator[Finding]:
        """Look once more at the runs something was found of, and at what cannot be looked at run by run."""
        ids = sorted({found.run for found in first if found.run is not None})
        checks = {found.check for found in first}
        late: dict[str, str] = {}
        cordoned = self._cordoned()
        for row in self._auditing.rows(ids):
            yield from self._of_row(row)
            queue = needs_hint(row, cordoned)
            if queue:
                late[row.id] = queue
        if "hint" in checks:
            yield from self._hints(late)
        if "slot" in checks:
            yield from self._slots()
        if checks & {"disk", "process"}:
            yield from self._on_this_node()

    def _cordoned(self) -> frozenset[str]:
        return frozenset(node.name for node in self._ledger.nodes.all() if node.cordoned)
