"""Have a project's code on a node: here, or over ssh on another one. Dispatch, `infra sync` and the check share it."""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Literal

from infra_tasks import releases
from infra_tasks.errors import BadFleet, ReleaseBusy, ReleaseError, SourceChanging, TransferBroken
from infra_tasks.model.amounts import transfer_in_words
from infra_tasks.model.nearest import did_you_mean
from infra_tasks.releases.layout import Shelf
from infra_tasks.releases.remote.peer import peer_of
from infra_tasks.releases.remote.push import LOOK_S, push
from infra_tasks.releases.supply import LocalCarrier, Weighed
from infra_tasks.releases.together import Together
from infra_tasks.releases.trouble import said_of
from infra_tasks.suppliers import source_here, supplying

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from infra_tasks.ledger import Ledger
    from infra_tasks.model.manifest import Manifest
    from infra_tasks.model.weight import Weight
    from infra_tasks.node import ThisNode
    from infra_tasks.releases import Brought, Source
    from infra_tasks.releases.remote.lines import Lines
    from infra_tasks.releases.remote.peer import Peer
    from infra_tasks.releases.remote.tally import Progress

# A source that is edited all the time is given up after so many tries.
SNAPSHOTS = 5
# A transfer that was cut off is begun anew so often: a link may be down for a moment.
TRANSFERS = 2
# A release that is being set up may be so for half an hour: the run's own node waits for that, not its dispatcher.
BUSY_PATIENCE_S = 3.0

_snapshots: Together[releases.Snapshot] = Together()


@dataclass(frozen=True)
class Deployed:
    """A release on a node. `held`: it was there. `busy`: somebody has it in hands there, and a run waits for that."""

    node: str
    digest: str
    said: Literal["held", "brought", "busy"]
    brought: Brought | None = None

    def words(self) -> str:
        """Return what happened, for the story of a run."""
        if self.brought is None:
            return f"{self.node} holds it" if self.said == "held" else f"{self.node} is at it"
        brought, way = self.brought, f"to {self.node}"
        return transfer_in_words(brought.files, brought.size_bytes, brought.shared_files, way, brought.duration_s)


def deploy_task_to_node(
    me: ThisNode,
    lines: Lines,
    project: str,
    node: str,
    *,
    digest: str | None = None,
    ledger: Ledger | None = None,
    progress: Callable[[Progress], None] | None = None,
    weighed: Callable[[Weight], object] | None = None,
) -> Deployed:
    """Have a project's code on a node, as the source is now or, with `digest`, exactly that release.

    The source must be on this node; a given release may come from wherever `ledger` knows it. `weighed` hears how much
    goes before it goes, and may hear it again when it has to go again. Somebody may save a file
    between the snapshot and the copy: a newer snapshot is taken then. Raises ReleaseError and its kinds:
    NodeUnreachable, HostKeyRefused, SourceUnreadable, SourceChanging when it never holds still, NamesCollide ...
    """
    way = _Way(me, lines, project, node, progress, weighed)
    with said_of(f"the code of {project} cannot be brought to {node}", me.home.root):
        if digest is not None:
            return way.given(digest, ledger)
        source = _source(me, project)
        for _ in range(SNAPSHOTS - 1):
            with suppress(SourceChanging):
                return way.fresh(source)
        return way.fresh(source)


def _source(me: ThisNode, project: str) -> Source:
    known = me.fleet.projects.get(project)
    if known is None:
        raise ReleaseError(f"project {project!r} is no longer in nodes.json{did_you_mean(project, me.fleet.projects)}")
    source = source_here(me, project)
    if source is None:
        raise ReleaseError(f"the source of {project} is on node {known.node}: ask there")
    return source


def at_home(
    me: ThisNode, project: str, digest: str, source: Source, weighed: Callable[[Weight], object] = lambda _: None
) -> Deployed:
    """Have a release of a source on this node, where the source is.

    Who builds it at this moment is waited for: when he fails nobody has it, and the source may have moved on.
    """
    tree, patience = Shelf(me.home, project).tree(digest), time.monotonic() + BUSY_PATIENCE_S
    carrier = Weighed(LocalCarrier(source), weighed)
    wanted = lambda: time.monotonic() < patience or not tree.is_dir()  # noqa: E731
    try:
        release = releases.ensure_release(me.home, project, digest, source=source, carrier=carrier, wanted=wanted)
    except ReleaseBusy:
        return Deployed(me.name, digest, "busy")
    return Deployed(me.name, digest, "brought" if release.brought else "held", release.brought)


@dataclass(frozen=True)
class _Way:
    """One project's way to one node."""

    me: ThisNode
    lines: Lines
    project: str
    node: str
    progress: Callable[[Progress], None] | None
    weighed: Callable[[Weight], object] | None

    def fresh(self, source: Source) -> Deployed:
        """Bring what the source is now."""
        home, project = self.me.home, self.project
        taken = _snapshots.do((home, project, source), lambda: releases.snapshot(home, project, source))
        if self.node == self.me.name:
            return at_home(self.me, self.project, taken.digest, source, self.weighed or (lambda _: None))
        sent = self._sent(taken.digest, lambda: taken.manifest, source.path)
        if sent.said == "busy":  # who is at it may fail; then it must be somewhere, whatever the source is by then
            at_home(self.me, self.project, taken.digest, source)
        return sent

    def given(self, digest: str, ledger: Ledger | None) -> Deployed:
        """Have it here first, from wherever it is; then send it from our immutable copy."""
        if self.node != self.me.name and self._is_held_there(digest):
            return Deployed(self.node, digest, "held")
        try:
            release = self._fetched(digest, ledger)
        except ReleaseBusy:
            return Deployed(self.node, digest, "busy")
        if self.node == self.me.name:
            return Deployed(self.node, digest, "brought" if release.brought else "held", release.brought)
        with releases.lending(release):
            return self._sent(digest, lambda: releases.manifest_of(release), release.path)

    def _is_held_there(self, digest: str) -> bool:
        with self.lines.to(self._peer()) as line:
            looked = line.ask("look", within_s=LOOK_S, project=self.project, digest=digest)
        return bool(looked["held"])

    def _peer(self) -> Peer:
        try:
            return peer_of(self.me.fleet, self.node)
        except BadFleet as error:
            raise ReleaseError(f"code cannot be brought to {self.node}: {error}") from error

    def _fetched(self, digest: str, ledger: Ledger | None) -> releases.Release:
        source = source_here(self.me, self.project)
        have = partial(releases.lendable, self.me.home, self.project, digest, source=source, patience_s=BUSY_PATIENCE_S)
        if ledger is None:
            return have()
        with supplying(self.me, ledger, self.project, digest) as supply:
            return have(carrier=supply.carrier)

    def _sent(self, digest: str, manifest: Callable[[], Manifest], tree: Path) -> Deployed:
        for _ in range(TRANSFERS - 1):
            with suppress(TransferBroken):
                return self._sent_once(digest, manifest, tree)
        return self._sent_once(digest, manifest, tree)

    def _sent_once(self, digest: str, manifest: Callable[[], Manifest], tree: Path) -> Deployed:
        shelf = Shelf(self.me.home, self.project)
        with self.lines.to(self._peer()) as line:
            try:
                pushed = push(
                    line,
                    self.lines.files,
                    shelf,
                    digest,
                    manifest,
                    tree,
                    patience_s=BUSY_PATIENCE_S,
                    progress=self.progress,
                    weighed=self.weighed,
                )
            except ReleaseBusy:
                return Deployed(self.node, digest, "busy")
        return Deployed(self.node, digest, "brought" if pushed.brought else "held", pushed.brought)
