"""What is known of the inodes of a project's releases: in this state of stat, the content has this hash.

Hard links make releases share inodes, and each link made or removed changes the inode's ctime for all of them. So the
facts belong to the inode, not to a release: who links, removes or reads a file notes its new state once, and no other
release has to be read again for it. A change behind our back changes the ctime to one that nobody noted.
"""
# No Path objects here: this is called for each of ten thousand files.
# ruff: noqa: PTH108

from __future__ import annotations

import os
import tempfile
import time
from typing import TYPE_CHECKING, NamedTuple

from infra_tasks.releases import sidecar
from infra_tasks.releases.locks import held

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from infra_tasks.releases.layout import Shelf
    from infra_tasks.releases.walk import Row

# inode -> (size, mtime_ns, ctime_ns, sha256)
Facts = dict[int, tuple[int, int, int, str]]

_LOOK_AGAIN_S = 0.001
# Disks that know whole seconds only tick once a second.
_TICK_DEADLINE_S = 5.0


def load(shelf: Shelf) -> Facts:
    """Return all facts; none if they were lost, which costs one reading of each release."""
    facts: Facts = sidecar.read_cache(_place(shelf)) or {}
    return facts


class Loaded(NamedTuple):
    """All facts as they were when the file with them was as `version` says."""

    facts: Facts
    version: tuple[int, ...]


def load_version(shelf: Shelf) -> Loaded:
    """Return all facts for somebody who will note some: they need not be read a second time then."""
    version = _version(shelf)
    return Loaded(load(shelf), version)


def note(
    shelf: Shelf,
    news: Mapping[int, tuple[int, int, int, str]],
    gone: Iterable[int] = (),
    loaded: Loaded | None = None,
) -> None:
    """Add facts, drop those of inodes that are gone. Only for states whose tick is over (see `tick_over`).

    What was `loaded` is changed, and spares a reading if nobody else noted anything meanwhile.
    """
    with held(shelf.cache / "inodes.lock"):
        still = loaded is not None and loaded.version and loaded.version == _version(shelf)
        facts = loaded.facts if loaded is not None and still else load(shelf)
        facts.update(news)
        for inode in gone:
            facts.pop(inode, None)
        sidecar.write_cache(_place(shelf), facts)


def holds(facts: Facts, row: Row, sha256: str) -> bool:
    """Say whether a file in this state is known to have this content."""
    return facts.get(row.inode) == (row.size, row.mtime_ns, row.ctime_ns, sha256)


def fact(row: Row, sha256: str) -> tuple[int, int, int, str]:
    """Return what to note for a file in this state."""
    return row.size, row.mtime_ns, row.ctime_ns, sha256


def tick_over(folder: Path, ctime_ns: int) -> None:
    """Wait (milliseconds) until the disk's clock is past `ctime_ns`: what changes from now on shows another ctime."""
    deadline = time.monotonic() + _TICK_DEADLINE_S
    fd, probe = tempfile.mkstemp(prefix=".tick-", dir=folder)
    try:
        while os.fstat(fd).st_ctime_ns <= ctime_ns and time.monotonic() < deadline:
            time.sleep(_LOOK_AGAIN_S)
            os.fchmod(fd, 0o600)
    finally:
        os.close(fd)
        os.unlink(probe)


def _version(shelf: Shelf) -> tuple[int, ...]:
    try:
        seen = _place(shelf).stat()
    except FileNotFoundError:
        return ()
    return seen.st_ino, seen.st_size, seen.st_mtime_ns, seen.st_ctime_ns


def _place(shelf: Shelf) -> Path:
    return shelf.cache / "inodes"
