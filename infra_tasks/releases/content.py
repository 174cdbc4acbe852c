"""Compare a release with its manifest by content, every file read, whatever stat says; mend what is wrong.

`verify` believes what is known of an inode in this state of stat. Here nothing is believed: a disk that forgot bits and
a clock that was set back show in no stat.
"""
# No Path objects here: this is called for each of ten thousand files.

from __future__ import annotations

import os
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from infra_tasks.errors import ReleaseBusy, ReleaseError
from infra_tasks.releases import known
from infra_tasks.releases.locks import held_while
from infra_tasks.releases.reading import open_to_read, read_through
from infra_tasks.releases.snapshot import note, recall
from infra_tasks.releases.trouble import said_of
from infra_tasks.releases.verify import inspect, make_right

if TYPE_CHECKING:
    from collections.abc import Callable

    from infra_tasks.model.manifest import Entry, Manifest
    from infra_tasks.releases.layout import Release
    from infra_tasks.releases.supply import Carrier

# Reading gives way to whatever else the node does: never longer at a time than this, then a pause.
WORK_S = 0.02
PAUSE_S = 0.02
# Who builds or sets a release up may take long: the next check looks again.
BUSY_PATIENCE_S = 3.0


class NotWanted(Exception):
    """Whoever wanted the reading does not want it any more."""


@dataclass(frozen=True)
class Checked:
    """What was found wrong, and what of it stays because something runs in the release. Both empty: it was right."""

    damage: tuple[str, ...] = ()
    left: tuple[str, ...] = ()


class Reading:
    """One turn of reading: each inode once, however many releases of the project share it."""

    def __init__(self, wanted: Callable[[], bool] | None = None, pause: Callable[[float], object] = time.sleep) -> None:
        self._read: dict[tuple[int, int, int], str] = {}
        self._wanted = wanted
        self._pause = pause
        self._work_ends = time.monotonic() + WORK_S
        self.files = 0

    def content(self, path: str) -> tuple[int, str]:
        """Return inode and sha256 of a file; "" for what cannot be read as a file. Raises NotWanted."""
        inode = 0
        try:
            seen = os.lstat(path)
            inode, state = seen.st_ino, (seen.st_ino, seen.st_size, seen.st_mtime_ns)
            if state not in self._read:
                self._read[state] = self._through(path)
            return inode, self._read[state]
        except OSError:
            return inode, ""  # what was known of it is forgotten: nobody believes it any more

    def _through(self, path: str) -> str:
        fd = open_to_read(path)
        try:
            self.files += 1
            self._give_way(b"")
            return read_through(fd, os.fstat(fd).st_size, self._give_way)
        finally:
            os.close(fd)

    def _give_way(self, _piece: bytes) -> None:
        if time.monotonic() < self._work_ends:
            return
        if self._wanted is not None and not self._wanted():
            raise NotWanted
        self._pause(PAUSE_S)
        self._work_ends = time.monotonic() + WORK_S


def check_content(release: Release, reading: Reading, carrier: Carrier | None = None) -> Checked:
    """Read the whole release and make it right. What something runs in is not mended: it is `left`.

    `carrier` brings what no other release here has. Raises ReleaseDamaged and its like if it cannot be mended,
    ReleaseBusy if it is wrong and somebody is at it, FileNotFoundError if it was removed meanwhile, NotWanted.
    """
    shelf, digest = release.shelf, release.digest
    manifest = recall(shelf, digest) or _told(release, carrier)
    wrong = _disbelieve(release, reading, list(manifest.files())) if manifest else False
    patience = time.monotonic() + BUSY_PATIENCE_S
    with (
        said_of(f"the release {digest[:12]} cannot be checked", shelf.releases),
        held_while(lambda: time.monotonic() < patience, shelf.work(digest)) as work,
    ):
        if not release.path.is_dir():
            raise FileNotFoundError(digest)
        if work is None and not wrong:
            return Checked()
        if work is None:
            raise ReleaseBusy(f"the release {digest[:12]} of {shelf.project} is damaged, and somebody is at it")
        damage = inspect(shelf, manifest).damage() if manifest else ("its manifest is lost",)
        return Checked(damage, make_right(shelf, digest, carrier)) if damage else Checked()


def _told(release: Release, carrier: Carrier | None) -> Manifest | None:
    """Return the manifest as the carrier knows it, kept from now on; None when nobody can tell it."""
    with suppress(ReleaseError):
        manifest = carrier.manifest(release.digest) if carrier else None
        if manifest:
            note(release.shelf, manifest)
        return manifest
    return None


def _disbelieve(release: Release, reading: Reading, entries: list[Entry]) -> bool:
    """Forget what was known of files whose content is another one; say whether there are any."""
    top = os.fspath(release.path)
    wrong = set()
    for entry in entries:
        inode, sha256 = reading.content(f"{top}/{entry.path}")
        if sha256 != entry.sha256:
            wrong.add(inode)
    if wrong:
        known.note(release.shelf, {}, wrong)
        release.shelf.seen(release.digest).unlink(missing_ok=True)
    return bool(wrong)
