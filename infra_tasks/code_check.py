"""C6, the check of one node's code: every release by content, what should be here and is not, what nobody needs.

Cause: disks forget bits, tasks write into what they run in, somebody deleted a folder, a node was away at a dispatch.
Remedy: what is damaged is mended, what is missing is fetched, what nobody needs goes. What something runs in is left
alone and said.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from infra_tasks import releases
from infra_tasks.errors import FleetUnreachable, ReleaseBusy, ReleaseError
from infra_tasks.ledger.code import SyncEntry
from infra_tasks.releases.content import NotWanted, Reading, check_content
from infra_tasks.releases.held import digests, projects
from infra_tasks.releases.layout import Release, Shelf
from infra_tasks.releases.locks import AT_ONCE, EXCLUSIVE, held
from infra_tasks.suppliers import source_here

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

    from infra_tasks.ledger import Ledger
    from infra_tasks.ledger.code import Said
    from infra_tasks.model.manifest import Entry, Manifest
    from infra_tasks.node import ThisNode
    from infra_tasks.releases.supply import Carrier
    from infra_tasks.suppliers import Supply

    # Gives whoever can bring a release (project, digest) to this node, for a while.
    Supplying = Callable[[str, str], AbstractContextManager[Supply]]

# A release asked for lately may be on its way to a run the ledger does not know it of yet.
UNUSED_FOR_S = 900.0
# Who builds a release here at this moment is waited for so long.
BUSY_PATIENCE_S = 30.0
# A line of the log is not worth holding up the check of the next project.
NOTE_PATIENCE_S = 2.0
# Of one release, so much is said; the rest is counted.
SHOWN = 5
GRAVEST_FIRST: tuple[Said, ...] = ("failed", "brought", "mended", "held", "found right")

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Duty:
    """What a check has to do for a project: releases to be read, and one that should be here and is not."""

    project: str
    held: tuple[str, ...]
    missing: str | None = None


def duties(
    here: Mapping[str, Collection[str]], expected: Mapping[str, str], project: str | None, digest: str | None
) -> list[Duty]:
    """Decide. `here`: the releases of each project; `expected`: which one should be. `project`, `digest`: only this."""
    names = [project] if project else sorted(here.keys() | expected.keys())
    found = []
    for name in names:
        asked = [one for one in here.get(name, ()) if digest in {None, one}]
        should = expected.get(name)
        missing = should if should not in here.get(name, ()) and digest in {None, should} else None
        if asked or missing:
            found.append(Duty(name, tuple(asked), missing))
    return found


@dataclass(frozen=True)
class Finding:
    """What a check found of one release, and did."""

    release: str
    said: Said
    files: int = 0
    size_bytes: int = 0
    shared_files: int = 0
    source: str = ""
    error: str | None = None


def summary(project: str, node: str, findings: Sequence[Finding], duration_s: float) -> SyncEntry:
    """Return the one line for the sync log: the gravest finding, what was sent in all, every reason."""
    gravest = min(findings, key=lambda one: GRAVEST_FIRST.index(one.said))
    return SyncEntry(
        project=project,
        release=gravest.release,
        node=node,
        why="check",
        said=gravest.said,
        source=gravest.source or next((one.source for one in findings if one.source), ""),
        files=sum(one.files for one in findings),
        size_bytes=sum(one.size_bytes for one in findings),
        shared_files=sum(one.shared_files for one in findings),
        duration_s=duration_s,
        error="; ".join(one.error for one in findings if one.error) or None,
    )


class Counting:
    """The carrier of a supply, counting what it brings."""

    def __init__(self, supply: Supply) -> None:
        self._supply = supply
        self._carrier: Carrier = supply.carrier
        self.files = 0
        self.size_bytes = 0

    @property
    def source(self) -> str:
        """The node that gave what was missing; "" when nothing was."""
        return self._supply.source if self.files else ""

    def manifest(self, digest: str) -> Manifest | None:
        """Return what the carrier tells."""
        return self._carrier.manifest(digest)

    def bring(self, entries: Sequence[Entry], tree: Path) -> Collection[str]:
        """Have them brought, and count."""
        checked = self._carrier.bring(entries, tree)
        self.files += len(entries)
        self.size_bytes += sum(entry.size for entry in entries)
        return checked


class CodeCheck:
    """The check of this node. One at a time: others return at once."""

    def __init__(
        self, me: ThisNode, ledger: Ledger, supplying: Supplying, *, goes_on: Callable[[], bool] = lambda: True
    ) -> None:
        self._me = me
        self._ledger = ledger
        self._supplying = supplying
        self._goes_on = goes_on

    def run(self, project: str | None = None, digest: str | None = None) -> list[SyncEntry] | None:
        """Check all, or one project, or one release; return a line for each project, None when another check goes on.

        Ends early when `goes_on` says no. A ledger that is away hinders no mending; nothing is fetched or pruned then.
        """
        with held(self._me.home.root / "code_check.lock", EXCLUSIVE | AT_ONCE) as alone:
            return None if alone is None else self._run(project, digest)

    def _run(self, project: str | None, digest: str | None) -> list[SyncEntry]:
        here = {name: digests(Shelf(self._me.home, name)) for name in projects(self._me.home)}
        done: list[SyncEntry] = []
        try:
            for duty in duties(here, self._expected(), project, digest):
                self._be_wanted()
                done += self._check(duty)
        except NotWanted:
            log.info("the check of code was told to stop")
            return done
        self._prune([project] if project else list(here))
        return done

    def _be_wanted(self) -> None:
        if not self._goes_on():
            raise NotWanted

    def _expected(self) -> dict[str, str]:
        try:
            said = self._ledger.code.expected()
        except FleetUnreachable as error:
            log.warning("what should be here is not known, only what is here is checked: %s", error)
            return {}
        return {project: digest for (project, node), digest in said.items() if node == self._me.name}

    def _check(self, duty: Duty) -> list[SyncEntry]:
        began = time.monotonic()
        findings = list(self._findings(duty))
        if not findings:
            return []
        entry = summary(duty.project, self._me.name, findings, time.monotonic() - began)
        if entry.said != "found right":
            log.warning("check of %s: %s %s %s", entry.project, entry.said, entry.release, entry.error or "")
        try:
            self._ledger.code.note_sync(entry, patience_s=NOTE_PATIENCE_S)
        except FleetUnreachable as error:
            log.warning("the check of %s (%s) is not in the sync log: %s", entry.project, entry.said, error)
        return [entry]

    def _findings(self, duty: Duty) -> Iterator[Finding]:
        reading = Reading(self._goes_on)
        if duty.missing:
            yield self._fetch(duty.project, duty.missing)
        for digest in duty.held:
            finding = self._look_at(duty.project, digest, reading)
            if finding:
                yield finding

    def _look_at(self, project: str, digest: str, reading: Reading) -> Finding | None:
        """Check one release; None when it was removed meanwhile."""
        with self._supplying(project, digest) as supply:
            counting = Counting(supply)
            try:
                checked = check_content(Release(Shelf(self._me.home, project), digest), reading, counting)
            except FileNotFoundError:
                return None
            except ReleaseError as error:
                return Finding(digest, "failed", error=str(error))
            if checked.left:
                return Finding(digest, "failed", error=_in_use(digest, checked.left))
            if not checked.damage:
                return Finding(digest, "found right")
            log.warning("release %s of %s was damaged and is right again: %s", digest, project, _few(checked.damage))
            return Finding(digest, "mended", counting.files, counting.size_bytes, source=counting.source)

    def _fetch(self, project: str, digest: str) -> Finding:
        with self._supplying(project, digest) as supply:
            counting = Counting(supply)
            patience = time.monotonic() + BUSY_PATIENCE_S
            try:
                release = releases.ensure_release(
                    self._me.home,
                    project,
                    digest,
                    source=source_here(self._me, project),
                    carrier=counting,
                    wanted=lambda: self._goes_on() and time.monotonic() < patience,
                )
            except ReleaseBusy:
                return Finding(digest, "held")  # a dispatch brings it at this moment
            except ReleaseError as error:
                return Finding(digest, "failed", error=f"it should be here and is not: {error}")
            brought = release.brought
            if brought is None:
                return Finding(digest, "held")
            return Finding(digest, "brought", brought.files, brought.size_bytes, brought.shared_files, counting.source)

    def _prune(self, names: Sequence[str]) -> None:
        """Remove what nobody needs, if the ledger can say what is needed."""
        try:
            wanted = self._ledger.code.wanted()
            wanted |= {(project, digest) for (project, _), digest in self._ledger.code.expected().items()}
        except FleetUnreachable as error:
            log.warning("no release is pruned: %s", error)
            return
        for name in names:
            also = {digest for project, digest in wanted if project == name}
            try:
                keep = self._me.fleet.limits.keep_releases
                gone = releases.prune(self._me.home, name, keep, keep_also=also, unused_for_s=UNUSED_FOR_S)
            except ReleaseError as error:
                log.warning("releases of %s: %s", name, error)
                continue
            if gone:
                log.info("pruned %d releases of %s: %s", len(gone), name, ", ".join(one[:12] for one in gone))


def _in_use(digest: str, damage: Sequence[str]) -> str:
    return (
        f"the release {digest[:12]} is damaged ({_few(damage)}) while something runs in it: it is mended when nothing "
        "does, and runs that start until then get a copy of their own"
    )


def _few(damage: Sequence[str]) -> str:
    more = f" and {len(damage) - SHOWN} more" if len(damage) > SHOWN else ""
    return "; ".join(damage[:SHOWN]) + more
