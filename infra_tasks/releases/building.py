"""A tree that grows: what other releases share is linked while a carrier brings the rest, and all of it is checked."""
# No Path objects here: this is called for each of ten thousand files.
# ruff: noqa: PTH102, PTH211

from __future__ import annotations

import os
import stat
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, NamedTuple

from infra_tasks.errors import ReleaseDamaged, ReleaseError
from infra_tasks.model.manifest import Diff, Entry, Manifest, diff
from infra_tasks.releases import known
from infra_tasks.releases.copying import cannot_give, clone, copy_checked, link
from infra_tasks.releases.layout import OPEN_FOLDER
from infra_tasks.releases.reading import closing_fd, open_folder, seal
from infra_tasks.releases.supply import bases, sealed
from infra_tasks.releases.walk import Row, row, row_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from infra_tasks.releases.layout import Shelf
    from infra_tasks.releases.supply import Carrier

# Reading and hashing wait for each other only in Python itself; more of them than this gain nothing.
READERS = 2
# Fewer files than this are read by one.
_READ_BY_ONE = 64


class _Offer(NamedTuple):
    """What a base has of what is wanted."""

    base: str
    found: Diff
    wanted: dict[str, Entry]


class _Way(NamedTuple):
    """How one file comes from a base: both trees are open, so that paths are short."""

    offer: _Offer
    there: int
    base_path: str
    here: int
    may_link: bool


class Building:
    """Used for whole releases, and with a part of a manifest for the files that are to be mended.

    `missing` is what had to be brought, `rows` the state of each file right after it was made.
    """

    def __init__(self, shelf: Shelf, entries: Iterable[Entry], tree: Path, asking: str) -> None:
        entries = tuple(entries)
        self.tree = tree
        self.missing = [entry for entry in entries if entry.kind == "file"]
        self.shared_files = 0
        self.rows: dict[str, Row] = {}
        self.loaded = known.load_version(shelf)
        self._shelf = shelf
        self._asking = asking
        self._clones = True
        self._in_vain = False
        self._make_folders(entries)

    def _make_folders(self, entries: tuple[Entry, ...]) -> None:
        top = os.fspath(self.tree)
        os.mkdir(top, OPEN_FOLDER)
        for folder in sorted(Manifest(entries, "").folders()):
            os.mkdir(f"{top}/{folder}", OPEN_FOLDER)
        for entry in entries:
            if entry.kind == "link":
                os.symlink(entry.target, f"{top}/{entry.path}")

    def newest_ns(self) -> int:
        """Return the last ctime of all files."""
        return max((found.ctime_ns for found in self.rows.values()), default=0)

    def copy_from(self, tree: Path) -> None:
        """Take what has the right content in a tree, by copy."""
        left = []
        for entry in self.missing:
            there, here = f"{os.fspath(tree)}/{entry.path}", f"{os.fspath(self.tree)}/{entry.path}"
            try:
                taken = copy_checked(there, here, sealed(entry), entry.sha256)
            except OSError as error:
                if not cannot_give(error):
                    raise
                taken = False
            if taken:
                self.rows[entry.path] = row(self.tree, entry.path)
            else:
                left.append(entry)
        self.missing = left

    def gather(self, carrier: Carrier | None) -> None:
        """Take from other releases what they have, while what they do not have is brought.

        What a base has by its manifest and cannot give after all is brought in the end. Raises what the carrier raises.
        When this returns or raises, nobody works on the tree any more.
        """
        offers = list(self._offers())
        with ThreadPoolExecutor(1) as beside:
            coming = beside.submit(self._bring_beside, carrier) if self.missing else None
            left = [entry for offer in offers for entry in self._take(offer)]
            if coming is not None:
                coming.result()
        self.shared_files = len(self.rows) - len(self.missing)
        if left:
            self._bring(left, carrier)
            self.missing = [*self.missing, *left]

    def _offers(self) -> Iterator[_Offer]:
        """Say which base has what, by the manifests alone; `missing` is what none has."""
        for base, held in bases(self._shelf, self._asking, lambda: self.missing):
            wanted = Manifest(tuple(self.missing), "")
            found = diff(held, wanted)
            self.missing = found.missing
            yield _Offer(os.fspath(base), found, {entry.path: entry for entry in wanted.entries})

    def _take(self, offer: _Offer) -> list[Entry]:
        """Take what was found in a base; return what could not be taken after all."""
        found = [(path, base_path, True) for path, base_path in offer.found.shared.items()]
        found += [(path, base_path, False) for path, base_path in offer.found.copied.items()]
        try:
            there = open_folder(offer.base)
        except FileNotFoundError:  # pruned since
            return [offer.wanted[path] for path, _, _ in found]
        with closing_fd(there), closing_fd(open_folder(self.tree)) as here:
            return [
                offer.wanted[path]
                for path, base_path, may_link in found
                if not self._in_vain and not self._taken(_Way(offer, there, base_path, here, may_link), path)
            ]

    def _taken(self, way: _Way, path: str) -> bool:
        entry = way.offer.wanted[path]
        try:
            if self._clones and self._clone(f"{way.offer.base}/{way.base_path}", entry):
                return True
            if way.may_link and self._link(way, entry):
                return True
            here = f"{os.fspath(self.tree)}/{path}"
            if not copy_checked(f"{way.offer.base}/{way.base_path}", here, sealed(entry), entry.sha256):
                return False
        except OSError as error:
            if cannot_give(error):
                return False
            raise
        self.rows[path] = row(self.tree, path)
        return True

    def _clone(self, there: str, entry: Entry) -> bool:
        """Clone a file nobody touched since its content was read."""
        if not known.holds(self.loaded.facts, row_of(entry.path, os.lstat(there)), entry.sha256):
            return False
        self._clones = clone(there, f"{os.fspath(self.tree)}/{entry.path}", sealed(entry))
        if self._clones:
            self.rows[entry.path] = row(self.tree, entry.path)
        return self._clones

    def _link(self, way: _Way, entry: Entry) -> bool:
        """Link a file nobody touched since its content was read: looked at right before and right after.

        Most of the time of a build is spent here, so it goes by the shortest way. A link made here counts as a touch,
        so that two files of one release never share an inode.
        """
        path = entry.path
        before = os.stat(way.base_path, dir_fd=way.there, follow_symlinks=False)
        state = before.st_size, before.st_mtime_ns, before.st_ctime_ns, entry.sha256
        if self.loaded.facts.get(before.st_ino) != state or before.st_mode != stat.S_IFREG | sealed(entry):
            return False
        if not link(way.base_path, path, way.there, way.here):
            return False
        after = os.stat(path, dir_fd=way.here, follow_symlinks=False)
        if (after.st_ino, after.st_size, after.st_mtime_ns) != (before.st_ino, before.st_size, before.st_mtime_ns):
            os.unlink(path, dir_fd=way.here)
            return False
        self.rows[path] = row_of(path, after)
        return True

    def _bring_beside(self, carrier: Carrier | None) -> None:
        try:
            self._bring(self.missing, carrier)
        except BaseException:
            self._in_vain = True  # no more links: the caller raises this
            raise

    def _bring(self, entries: Sequence[Entry], carrier: Carrier | None) -> None:
        """Have files carried here, and read those that were not checked on the way."""
        if carrier is None:
            raise ReleaseError(
                f"{len(entries)} files of the release {self._asking[:12]} are not on this node "
                f"({entries[0].path!r} ...), and nobody was named who could bring them"
            )
        checked = carrier.bring(entries, self.tree)
        unread = [entry for entry in entries if entry.path not in checked]
        for entry in entries if checked else ():
            if entry.path in checked:
                self.rows[entry.path] = row(self.tree, entry.path)
        if len(unread) < _READ_BY_ONE:
            self._check(unread)
            return
        with ThreadPoolExecutor(READERS) as readers:
            list(readers.map(self._check, (unread[number::READERS] for number in range(READERS))))

    def _check(self, entries: Sequence[Entry]) -> None:
        """Give what arrived its mode, if it is what was asked for."""
        with closing_fd(open_folder(self.tree)) as here:
            for entry in entries:
                found = seal(entry.path, sealed(entry), entry.sha256, here)
                if found is None:
                    raise ReleaseDamaged(f"{entry.path!r} did not arrive as it was sent; try again")
                self.rows[entry.path] = row_of(entry.path, found)
