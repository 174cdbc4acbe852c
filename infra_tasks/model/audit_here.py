"""What an audit finds on this node: folders, entries and processes of attempts, held against the ledger. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from infra_tasks.model.audit import Finding, Remedy

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from infra_tasks.model.audit import Row

# The agent reports an exit within seconds, once outputs are gathered.
UNREPORTED_AFTER_S = 30.0


@dataclass(frozen=True)
class AttemptSeen:
    """An attempt on this node's disk. `ended_s`: how long ago its exit record was written; None: there is none.

    `entered`: noted as not reported; `reported`: the ledger knew its end once; `code`: the exit code on the disk.
    """

    run: str
    attempt: int
    claim: str
    entered: bool
    locked: bool
    recorded: bool
    reported: bool
    ended_s: float | None
    code: str = ""


@dataclass(frozen=True)
class AtWork:
    """Processes of one attempt. `token`: `<attempt>:<claim>`, as they carry it."""

    run: str
    token: str
    pids: Sequence[int]


def check_attempt(seen: AttemptSeen, row: Row) -> Iterator[Finding]:
    """Hold an attempt on the disk against the run."""
    who = f"attempt {seen.attempt}"
    mine = row.f.get("claim") == seen.claim and row.f.get("attempt") == str(seen.attempt)
    if seen.ended_s is not None and not seen.reported and seen.ended_s > UNREPORTED_AFTER_S:
        remedy = None if seen.entered else Remedy.REPORT
        said = "the agent has not reported it" if seen.entered else "nobody is going to report it"
        yield Finding("disk", seen.run, f"{who} has an exit record, and {said}", "reported", remedy)
    if seen.entered and not seen.locked and seen.ended_s is None and seen.recorded:
        yield Finding(
            "disk", seen.run, f"{who} is dead, and nobody has buried it", "ended by the agent (does it live?)"
        )
    if seen.locked and seen.recorded and (row.final or not row.state) and seen.ended_s is None:
        said = f"the run is {row.state}" if row.state else "the ledger does not know the run"
        yield Finding("process", seen.run, f"the shim of {who} lives, and {said}", "no live attempt", Remedy.KILL)
    if row.final and mine and seen.reported and not row.f["lapsed"] and seen.code != row.code:
        found = f"{who} ended with exit code {seen.code or 'none'} on the disk, {row.code or 'none'} in the ledger"
        yield Finding("disk", seen.run, found, "the same exit code")


def check_claim(row: Row, node: str, *, entered: bool) -> Iterator[Finding]:
    """Say whether this node, which has the claim, knows of it."""
    if row.held and row.f["claim_node"] == node and not entered:
        yield Finding("disk", row.id, f"{row.state} on {node}, which knows of no attempt", "noted in its folder 'live'")


def check_folder(row: Row, node: str, keep_s: float, *, there: bool) -> Iterator[Finding]:
    """Say whether the folder of the last attempt is there as long as it should be."""
    ended_at = float(row.f.get("ended_at") or 0)
    if row.final and row.f["claim_node"] == node and not there and ended_at + keep_s > row.at:
        yield Finding(
            "disk", row.id, f"{row.state} on {node}, and its folder is gone", f"kept for {keep_s / 86400:g} days"
        )


def check_at_work(seen: AtWork, row: Row) -> Iterator[Finding]:
    """Say whether processes of a run may live."""
    if row.held and f"{row.f['attempt']}:{row.f['claim']}" == seen.token:
        return
    pids = ", ".join(map(str, seen.pids))
    state = row.state or "unknown to the ledger"
    said = f"processes {pids} of attempt {seen.token.partition(':')[0]} live, and the run is {state}"
    yield Finding("process", seen.run, said, "no process", Remedy.KILL)
