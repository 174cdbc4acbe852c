"""Let others copy a release from this node: what runs in it or is set up there meanwhile is no hindrance, nor hindered.

Who copies checks every file he gets. So all that must be kept from him is that the release is removed, and that he is
shown one that is wrong as it stands.
"""
# No Path objects here: this is called for each of ten thousand files.

from __future__ import annotations

import os
import stat
import time
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

from infra_tasks.errors import ReleaseBusy
from infra_tasks.releases import known
from infra_tasks.releases.ensure import ensure_release, take_while_there
from infra_tasks.releases.layout import Release, Shelf
from infra_tasks.releases.reading import closing_fd, open_folder
from infra_tasks.releases.snapshot import recall
from infra_tasks.releases.supply import sealed
from infra_tasks.releases.walk import row_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from infra_tasks.model.manifest import Entry
    from infra_tasks.releases.layout import Source
    from infra_tasks.releases.supply import Carrier
    from infra_tasks.settings import Home

# How often who waits for somebody at work in a release looks whether it can be copied all the same.
LOOK_EVERY_S = 1.0


def lendable(
    home: Home,
    project: str,
    digest: str,
    *,
    patience_s: float,
    source: Source | None = None,
    carrier: Carrier | None = None,
) -> Release:
    """Return a release that can be copied: verified, or whole though somebody is at work in it (a setup takes long).

    Raises what `ensure_release` raises; ReleaseBusy when it is neither for longer than `patience_s`.
    """
    until = time.monotonic() + patience_s
    while True:
        wanted = partial(_is_before, min(until, time.monotonic() + LOOK_EVERY_S))
        try:
            return ensure_release(home, project, digest, source=source, carrier=carrier, wanted=wanted)
        except ReleaseBusy:
            release = Release(Shelf(home, project), digest)
            if _is_whole(release):
                return release
            if time.monotonic() >= until:
                raise


def lend(release: Release) -> int:
    """Return an fd that keeps the release from being removed until it is closed. Others may run, mend and set up in it.

    Raises ReleaseDamaged if it was pruned since it was looked at.
    """
    return take_while_there(release, release.shelf.lent(release.digest))


@contextmanager
def lending(release: Release) -> Iterator[None]:
    """Keep a release from being removed for a while. Raises ReleaseDamaged as `lend` does."""
    with closing_fd(lend(release)):
        yield


def _is_before(deadline: float) -> bool:
    return time.monotonic() < deadline


def _is_whole(release: Release) -> bool:
    """Say whether every path of the manifest is there in a state that is known to be right, whatever else there is."""
    manifest = recall(release.shelf, release.digest)
    facts = known.load(release.shelf)
    try:
        with closing_fd(open_folder(release.path)) as top:
            return manifest is not None and all(_is_right(entry, top, facts) for entry in manifest.entries)
    except OSError:
        return False


def _is_right(entry: Entry, top: int, facts: known.Facts) -> bool:
    if entry.kind == "link":
        return os.readlink(entry.path, dir_fd=top) == entry.target
    seen = os.stat(entry.path, dir_fd=top, follow_symlinks=False)
    return seen.st_mode == stat.S_IFREG | sealed(entry) and known.holds(facts, row_of(entry.path, seen), entry.sha256)
