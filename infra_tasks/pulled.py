"""What is told of code a node fetched for itself: the sync log, what should be there from now on, and a check of it."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from infra_tasks.errors import FleetUnreachable
from infra_tasks.ledger.code import SyncEntry

if TYPE_CHECKING:
    from collections.abc import Callable

    from infra_tasks import releases
    from infra_tasks.ledger import Ledger
    from infra_tasks.node import ThisNode

log = logging.getLogger(__name__)


def entry_of(me: ThisNode, place: releases.Place, source: str, duration_s: float) -> SyncEntry | None:
    """Return what had to come before a run could start, None if all was here."""
    brought = place.release.brought
    if brought is None:
        return None
    return SyncEntry(
        project=place.release.project,
        release=place.release.digest,
        node=me.name,
        why="pull",
        said="brought",
        source=source,
        files=brought.files,
        size_bytes=brought.size_bytes,
        shared_files=brought.shared_files,
        duration_s=duration_s,
    )


def failure(me: ThisNode, project: str, digest: str, why: str) -> SyncEntry:
    """Return what is told of code that could not be had."""
    return SyncEntry(project=project, release=digest, node=me.name, why="pull", said="failed", error=why)


def tell(ledger: Ledger, entry: SyncEntry, ask_check: Callable[[str, str, str], object]) -> None:
    """Log it; what was brought is expected here from now on, as what is pushed is, and is checked.

    Nothing waits for any of this: what cannot be told at once is not told.
    """
    try:
        ledger.code.note_sync(entry, patience_s=0)
        if entry.said == "brought":
            ledger.code.expect(entry.project, entry.node, entry.release, patience_s=0)
            ask_check(entry.node, entry.project, entry.release)
    except FleetUnreachable as error:
        log.warning("the pull of %s %s is not in the log: %s", entry.project, entry.release[:12], error)
