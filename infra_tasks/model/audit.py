"""What an audit finds in the ledger: sums that do not add up, and runs that are not where they belong. Pure.

sums     submitted = final + running + waiting + archived + forgotten, and every index has as many runs
record   an index names a run that has no record, or a record is in no index
place    the run is not in the indexes its state puts it in, or nothing would ever move it on
slot     a node counts a slot for a run it has no claim on, or does not for one that it has
result   Celery's result is missing, too early or another one
hint     a run has been waiting long without a hint in its queue, or a hint names a run that is unknown
disk     run folders and entries of this node say something else (`audit_here`)
process  processes of a run live though it is final, or nobody knows it (`audit_here`)
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from infra_tasks.model.run import FINAL, State

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

# A hint that should have been taken: the sweep pushes another one long before.
HINT_LATE_S = 60.0
RUNNING = (State.SYNCING, State.STARTED)
WAITING = (State.PENDING, State.QUEUED, State.RETRY)


class Remedy(StrEnum):
    """What `--repair` may do, in words."""

    MEND = "put back where its state says it belongs, with a new hint where it needs one"
    RESULT = "Celery's result written again from the record"
    REPORT = "its exit record handed to the agent, which reports it"
    KILL = "its processes ended, as the agent ends them"


@dataclass(frozen=True)
class Finding:
    """One exception. `holder`: a node that counts a slot for the run."""

    check: str
    run: str | None
    found: str
    expected: str
    remedy: Remedy | None = None
    holder: str | None = None

    @property
    def same(self) -> tuple[str, str | None, str]:
        """What two looks must agree on."""
        return self.check, self.run, self.expected

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON knows it."""
        said = asdict(self)
        del said["holder"]
        return {**said, "remedy": self.remedy and self.remedy.value}


@dataclass(frozen=True)
class Sums:
    """All counts of the ledger, read at one moment. `cards`: how many runs each index has."""

    counts: Mapping[str, int]
    totals: Mapping[str, int]
    cards: Mapping[str, int]

    @property
    def submitted(self) -> int:
        """How many runs were ever accepted; a ledger that has not counted yet was given what it holds."""
        return self.totals.get("submitted", self.cards["recent"])

    def of(self, *states: str) -> int:
        """Return how many are in these states."""
        return sum(self.counts.get(state, 0) for state in states)

    def as_dict(self) -> dict[str, int]:
        """Return both sides of the sum."""
        return {
            "submitted": self.submitted,
            "final": self.of(*FINAL),
            "running": self.of(*RUNNING),
            "waiting": self.of(*WAITING),
            "archived": self.totals.get("archived", 0),
            "forgotten": self.totals.get("forgotten", 0),
        }


@dataclass(frozen=True)
class Row:
    """What the ledger holds of one run at one moment. `waits`: seconds since its hint was pushed, None: in no queue.

    `result`: the state that Celery's result names; `code`: the exit code in the record's result. Both '' for none.
    """

    id: str
    f: Mapping[str, str]
    listed: bool = True
    recent: bool = True
    live: bool = False
    ended: bool = False
    due: bool = False
    moments: bool = False
    unsettled: bool = False
    slot: bool = False
    waits: float | None = None
    result: str = ""
    code: str = ""
    at: float = field(default=0.0, compare=False)

    @property
    def state(self) -> str:
        """'' when there is no record."""
        return self.f.get("state", "")

    @property
    def final(self) -> bool:
        """It has ended."""
        return self.state in FINAL

    @property
    def held(self) -> bool:
        """A node has its claim."""
        return self.state == State.STARTED or (self.state == State.SYNCING and not self.f["dispatch"])


def check_sums(sums: Sums) -> Iterator[Finding]:
    """Hold what was submitted against what is there."""
    said = sums.as_dict()
    there = sum(said.values()) - said["submitted"]
    if there != said["submitted"]:
        parts = " + ".join(f"{count} {name}" for name, count in said.items() if name != "submitted")
        yield Finding("sums", None, f"{parts} = {there}", f"{said['submitted']} submitted")
    final, going_on = said["final"], said["running"] + said["waiting"]
    for index, wanted in (
        ("recent", final + going_on),
        ("ids", final + going_on),
        ("ended", final),
        ("live", going_on),
    ):
        if sums.cards[index] != wanted:
            yield Finding("sums", None, f"{sums.cards[index]} runs in the index '{index}'", f"{wanted}, as counted")


def check_run(row: Row, keep_s: float) -> Iterator[Finding]:
    """Hold one run against itself. `keep_s`: how long results are kept at least."""
    if not row.state:
        if row.listed or row.recent or row.live or row.ended:
            yield Finding("record", row.id, "listed, and there is no record of it", "a record")
        return
    if row.state not in set(State):
        yield Finding("record", row.id, f"its state is {row.state!r}", f"one of {', '.join(State)}")
        return
    if not row.listed:
        yield Finding("record", row.id, f"{row.state}, and not listed by name", "listed", Remedy.MEND)
    wrong = _misplaced(row) or _unmoved(row)
    if wrong:
        yield Finding("place", row.id, f"{row.state}, {wrong[0]}", wrong[1], Remedy.MEND)
    if row.slot is not row.held and row.f["claim_node"]:
        said = "no slot is counted for it" if row.held else f"{row.f['claim_node']} counts a slot for it"
        wanted = f"a slot of {row.f['claim_node']}" if row.held else "no slot"
        yield Finding("slot", row.id, f"{row.state}, and {said}", wanted, Remedy.MEND, row.f["claim_node"])
    yield from _results(row, keep_s)


def _misplaced(row: Row) -> tuple[str, str] | None:
    """Return what is found and what is expected of the indexes that only name runs."""
    if row.final and (row.live or not row.ended):
        return "and listed as one that goes on" if row.live else "and not listed as ended", "listed as ended"
    if not row.final and (row.ended or not row.live):
        return (
            "and listed as ended" if row.ended else "and not listed as one that goes on",
            "listed as one that goes on",
        )
    if not row.recent:
        return "and not listed among all runs", "listed among all runs"
    if (row.final or row.held) and (row.waits is not None or row.moments):
        return "and still waiting in a queue or for a moment", "waiting for nothing"
    return None


def _unmoved(row: Row) -> tuple[str, str] | None:
    """Return what is found and expected of a run that nothing would ever move on."""
    if row.final:
        stuck = row.unsettled and not row.due
        return ("what follows it is not done, and the sweep does not look", "looked at by the sweep") if stuck else None
    if row.held:
        stuck = bool(row.f["lease_until"]) and not row.due
        return ("its lease is watched by nobody", "watched by the sweep") if stuck else None
    if row.state == State.SYNCING:
        return None if row.due else ("its dispatch is watched by nobody", "watched by the sweep")
    if row.state in {State.QUEUED, State.PENDING} and row.waits is not None:
        return None
    return None if row.moments else ("in no queue and waiting for no moment", "in a queue, or waiting for its moment")


def _results(row: Row, keep_s: float) -> Iterator[Finding]:
    if not row.final and row.result:
        yield Finding("result", row.id, f"{row.state}, and Celery's result says {row.result}", "no result yet")
    elif row.final and row.result and row.result != row.state:
        yield Finding("result", row.id, f"{row.state}, and Celery's result says {row.result}", "the same state")
    elif row.final and not row.result and float(row.f["ended_at"] or 0) + keep_s > row.at:
        yield Finding("result", row.id, f"{row.state}, and Celery has no result", "a result", Remedy.RESULT)


def needs_hint(row: Row, cordoned: frozenset[str]) -> str | None:
    """Return the queue in which a run must have a hint by now; None: too early to say, or its node is cordoned."""
    if row.state not in {State.QUEUED, State.PENDING} or row.waits is None or row.waits < HINT_LATE_S:
        return None
    queue = row.f["dispatch_queue"] if row.state == State.PENDING else row.f["queue"]
    return None if queue.removeprefix("node.") in cordoned else queue


def without_hint(run_id: str) -> Finding:
    """Return the finding of a run whose queue holds no hint for it."""
    found = f"waiting for more than {HINT_LATE_S:g} s, and no hint in its queue"
    return Finding("hint", run_id, found, "a hint", Remedy.MEND)


def for_nobody(run_id: str, queue: str) -> Finding:
    """Return the finding of a hint whose run is unknown."""
    return Finding("hint", run_id, f"a hint in {queue}", "a run of that id, or no hint")
