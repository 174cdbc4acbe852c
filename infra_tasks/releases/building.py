"""A tree that grows: what other releases share is linked while a carrier brings the rest, and all of it is checked."""
# No Path objects here: this is called for each of ten thousand files.
# ruff: noqa: PTH102, PTH211

from __future__ import annotations

import os
import stat
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, NamedTuple

from infra_tasks.errors import NotAsSent, ReleaseError
from infra_tasks.model.manifest import EXECUTABLE, PLAIN, Diff, Entry, Manifest, diff, folders_above
from infra_tasks.releases import known
from infra_tasks.releases.copying import cannot_give, cannot_link, clone, copy_checked
from infra_tasks.releases.layout import OPEN_FOLDER, SEALED_EXECUTABLE, SEALED_PLAIN
from infra_tasks.releases.reading import closing_fd, open_folder, seal
from infra_tasks.releases.supply import bases, sealed
from infra_tasks.releases.walk import row, row_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from collections.abc import Set as AbstractSet
    from pathlib import Path

    from infra_tasks.releases.layout import Shelf
    from infra_tasks.releases.supply import Carrier
    from infra_tasks.releases.walk import Plain


class _Offer(NamedTuple):
    """What a base has of what is wanted."""

    base: str
    found: Diff
    wanted: dict[str, Entry]


def _folders_of(entries: Iterable[Entry]) -> AbstractSet[str]:
    return folders_above(entry.path for entry in entries)


class Building:
    """Used for whole releases, and with a part of a manifest for the files that are to be mended.

    `folders` are those its entries lie in, if somebody knows them. `missing` is what had to be brought, `rows` the
    state of each file right after it was made.
    """

    def __init__(
        self,
        shelf: Shelf,
        entries: Iterable[Entry],
        tree: Path,
        asking: str,
        folders: AbstractSet[str] | None = None,
    ) -> None:
        entries = tuple(entries)
        self.tree = tree
        self.missing = [entry for entry in entries if entry.kind == "file"]
        self.shared_files = 0
        self.rows: dict[str, Plain] = {}
        self.loaded = known.load_version(shelf)
        self._shelf = shelf
        self._asking = asking
        self._clones = True
        self._in_vain = False
        self._entries = entries
        self._folders = _folders_of(entries) if folders is None else folders
        self._made_folders: set[str] = set()
        os.mkdir(tree, OPEN_FOLDER)

    def _make_folders(self, folders: AbstractSet[str]) -> None:
        """Make those that are not there yet."""
        top = os.fspath(self.tree)
        for folder in sorted(folders - self._made_folders):
            os.mkdir(f"{top}/{folder}", OPEN_FOLDER)
            self._made_folders.add(folder)

    def _make_links(self) -> None:
        for entry in self._entries:
            if entry.kind == "link":
                os.symlink(entry.target, f"{os.fspath(self.tree)}/{entry.path}")

    def newest_ns(self) -> int:
        """Return the last ctime of all files."""
        return max((ctime_ns for _, _, _, _, _, ctime_ns in self.rows.values()), default=0)

    def copy_from(self, tree: Path) -> None:
        """Take what has the right content in a tree, by copy."""
        self._make_folders(self._folders)
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
        self._make_folders(_folders_of(self.missing))
        with ThreadPoolExecutor(1) as beside:
            coming = beside.submit(self._bring_beside, carrier) if self.missing else None
            self._make_folders(self._folders)
            self._make_links()
            left = [entry for offer in offers for entry in self._take(offer)]
            if coming is not None:
                coming.result()
        self.shared_files = len(self.rows) - len(self.missing)
        if left:
            self._bring(left, carrier)
            self.missing = [*self.missing, *left]

    def _offers(self) -> Iterator[_Offer]:
        """Say which base has what, by the manifests alone; `missing` is what none has.

        Content of no known inode is in no base: no more of their manifests is read for it.
        """
        here = {sha256 for _, _, _, sha256 in self.loaded.facts.values()}
        for base, held in bases(
            self._shelf, self._asking, lambda: [each for each in self.missing if not here or each.sha256 in here]
        ):
            wanted = Manifest(tuple(self.missing), "")
            found = diff(held, wanted)
            self.missing = found.missing
            yield _Offer(os.fspath(base), found, {entry.path: entry for entry in wanted.entries})

    def _take(self, offer: _Offer) -> list[Entry]:
        """Take what was found in a base; return what could not be taken after all."""
        shared, copied = offer.found.shared, offer.found.copied
        try:
            there = open_folder(offer.base)
        except FileNotFoundError:  # pruned since
            return [offer.wanted[path] for path in (*shared, *copied)]
        with closing_fd(there), closing_fd(open_folder(self.tree)) as here:
            if self._clones:  # what is shared is cloned where the disk can, until it says that it cannot
                shared = {path: base for path, base in shared.items() if not self._cloned(offer, path, base)}
            unlinked = self._link_all(there, here, shared, offer.wanted)
        copied = {path: shared[path] for path in unlinked} | copied
        return [offer.wanted[path] for path, base in copied.items() if not self._copied(offer, path, base)]

    def _cloned(self, offer: _Offer, path: str, base_path: str) -> bool:
        """Clone a file nobody touched since its content was read."""
        there, entry = f"{offer.base}/{base_path}", offer.wanted[path]
        if not self._clones or self._in_vain:
            return False
        try:
            if not known.holds(self.loaded.facts, row_of(path, os.lstat(there)), entry.sha256):
                return False
            self._clones = clone(there, f"{os.fspath(self.tree)}/{path}", sealed(entry))
        except OSError as error:
            if cannot_give(error):
                return False
            raise
        if self._clones:
            self.rows[path] = row(self.tree, path)
        return self._clones

    def _link_all(self, there: int, here: int, shared: Mapping[str, str], wanted: Mapping[str, Entry]) -> list[str]:
        """Link what nobody touched since its content was read: looked at right before and right after.

        Return the paths that were not linked. Most of the time of a build is spent here, so it goes by the shortest
        way. A link made here counts as a touch, so that two files of one release never share an inode.
        """
        look, link, fact, rows, left = os.stat, os.link, self.loaded.facts.get, self.rows, []
        modes = {PLAIN: stat.S_IFREG | SEALED_PLAIN, EXECUTABLE: stat.S_IFREG | SEALED_EXECUTABLE}
        for path, base_path in shared.items():
            if self._in_vain:
                break
            _, _, mode, _, sha256, _ = wanted[path]
            try:
                was = look(base_path, dir_fd=there, follow_symlinks=False)
                size, mtime_ns, inode = was.st_size, was.st_mtime_ns, was.st_ino
                if fact(inode) == (size, mtime_ns, was.st_ctime_ns, sha256) and was.st_mode == modes[mode]:
                    link(base_path, path, src_dir_fd=there, dst_dir_fd=here, follow_symlinks=False)
                    now = look(path, dir_fd=here, follow_symlinks=False)
                    if now.st_ino == inode and now.st_size == size and now.st_mtime_ns == mtime_ns:
                        rows[path] = path, now.st_mode, inode, size, mtime_ns, now.st_ctime_ns
                        continue
                    os.unlink(path, dir_fd=here)
            except OSError as error:
                if not (cannot_give(error) or cannot_link(error)):
                    raise
            left.append(path)
        return left

    def _copied(self, offer: _Offer, path: str, base_path: str) -> bool:
        """Copy a file and check its content; one of another mode is cloned if it can be."""
        if self._in_vain:
            return True
        if self._cloned(offer, path, base_path):
            return True
        entry = offer.wanted[path]
        here = f"{os.fspath(self.tree)}/{path}"
        try:
            if not copy_checked(f"{offer.base}/{base_path}", here, sealed(entry), entry.sha256):
                return False
        except OSError as error:
            if cannot_give(error):
                return False
            raise
        self.rows[path] = row(self.tree, path)
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
        if isinstance(checked, dict):
            self.rows.update(checked)
        else:
            self.rows.update((path, row(self.tree, path)) for path in checked)
        self._check([entry for entry in entries if entry.path not in checked])

    def _check(self, entries: Sequence[Entry]) -> None:
        """Give what arrived its mode, if it is what was asked for."""
        with closing_fd(open_folder(self.tree)) as here:
            for entry in entries:
                try:
                    found = seal(entry.path, sealed(entry), entry.sha256, here)
                except OSError as error:
                    if not cannot_give(error):
                        raise
                    found = None  # it is not there at all, or became something else
                if found is None:
                    raise NotAsSent(f"{entry.path!r} did not arrive as it was sent")
                self.rows[entry.path] = row_of(entry.path, found)
