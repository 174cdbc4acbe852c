"""Build a release beside the others: link what a base shares, bring what is missing, check all, give it its name."""
# No Path objects here: this is called for each of ten thousand files.
# ruff: noqa: PTH101, PTH102, PTH104, PTH108, PTH110, PTH211

from __future__ import annotations

import os
import tempfile
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from infra_tasks.errors import NamesCollide, NotAsSent, ReleaseDamaged, ReleaseError
from infra_tasks.model.manifest import Diff, Entry, Manifest, by_path, collisions, diff
from infra_tasks.releases import known, sidecar
from infra_tasks.releases.copying import cannot_give, clone, copy_checked, link
from infra_tasks.releases.layout import OPEN_FOLDER, SEALED_FOLDER, Brought
from infra_tasks.releases.reading import hash_file
from infra_tasks.releases.removing import remove_tree
from infra_tasks.releases.supply import bases, sealed
from infra_tasks.releases.trouble import said_of
from infra_tasks.releases.walk import fingerprint, look, row, row_of, top_row

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from infra_tasks.releases.layout import Shelf
    from infra_tasks.releases.supply import Carrier
    from infra_tasks.releases.walk import Row


def build(shelf: Shelf, manifest: Manifest, carrier: Carrier | None) -> Brought:
    """Make the release of `manifest`. The caller holds its work lock, so nobody else is here.

    Raises NamesCollide, SourceChanging, SourceUnreadable, ReleaseDamaged (what arrived is not what was asked for) and
    ReleaseError (disk full, read-only, nobody can bring what is missing). Whatever happens, nothing half gets the name.
    """
    began = time.monotonic()
    tree = shelf.building(manifest.digest)
    with said_of(f"the release {manifest.digest[:12]} cannot be built", shelf.releases):
        shelf.releases.mkdir(parents=True, exist_ok=True)
        _refuse_twins(shelf.releases, manifest)
        remove_tree(shelf, tree)
        try:
            made = Building(shelf, manifest.entries, tree, manifest.digest)
            made.share()
            made.bring(carrier)
            _finish(shelf, manifest, made)
        except BaseException:
            with suppress(OSError):
                remove_tree(shelf, tree)
            raise
    sizes = sum(entry.size for entry in made.missing)
    return Brought(len(made.missing), sizes, made.shared_files, time.monotonic() - began)


class Building:
    """A tree that grows from what releases here share and from what a carrier brings, all of it checked.

    Used for whole releases, and with a part of a manifest for the files that are to be mended.
    """

    def __init__(self, shelf: Shelf, entries: Iterable[Entry], tree: Path, asking: str) -> None:
        self.tree = tree
        self.missing = [entry for entry in entries if entry.kind == "file"]
        self.shared_files = 0
        self.rows: dict[str, Row] = {}
        self._shelf = shelf
        self._asking = asking
        self._clones = True
        self._make_folders(list(entries))

    def _make_folders(self, entries: list[Entry]) -> None:
        top = os.fspath(self.tree)
        os.mkdir(top, OPEN_FOLDER)
        for folder in sorted(Manifest(tuple(entries), "").folders()):
            os.mkdir(f"{top}/{folder}", OPEN_FOLDER)
        for entry in entries:
            if entry.kind == "link":
                os.symlink(entry.target, f"{top}/{entry.path}")

    def share(self) -> None:
        """Take from other releases what they have."""
        facts = known.load(self._shelf)
        for base, held in bases(self._shelf, self._asking):
            if not self.missing:
                break
            wanted = Manifest(tuple(self.missing), "")
            found = diff(held, wanted)
            self.missing = found.missing + list(self._take(base, found, by_path(wanted), facts))
        self.shared_files = len(self.rows)

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

    def _take(self, base: Path, found: Diff, wanted: Mapping[str, Entry], facts: known.Facts) -> Iterator[Entry]:
        """Take what was found in a base; yield what could not be taken after all."""
        for ways, may_link in ((found.shared, True), (found.copied, False)):
            for path, base_path in ways.items():
                there, here = f"{os.fspath(base)}/{base_path}", f"{os.fspath(self.tree)}/{path}"
                try:
                    taken = self._take_one(there, here, wanted[path], facts, may_link=may_link)
                except OSError as error:
                    if not cannot_give(error):
                        raise
                    taken = False
                if not taken:
                    yield wanted[path]

    def _take_one(self, there: str, here: str, entry: Entry, facts: known.Facts, *, may_link: bool) -> bool:
        """Link or clone a file nobody touched since its content was read; copy and check any other.

        A link made here counts as a touch, so that two files of one release never share an inode.
        """
        mode = sealed(entry)
        before = row_of(entry.path, os.lstat(there))
        untouched = known.holds(facts, before, entry.sha256)
        if untouched and self._clone(there, here, mode):
            self.rows[entry.path] = row(self.tree, entry.path)
            return True
        right = untouched and may_link and before.mode & 0o7777 == mode
        if right and link(there, here):
            return self._note_link(here, before, entry)
        if not copy_checked(there, here, mode, entry.sha256):
            return False
        self.rows[entry.path] = row(self.tree, entry.path)
        return True

    def _clone(self, there: str, here: str, mode: int) -> bool:
        self._clones = self._clones and clone(there, here, mode)
        return self._clones

    def _note_link(self, here: str, before: Row, entry: Entry) -> bool:
        after = row(self.tree, entry.path)
        if (after.inode, after.size, after.mtime_ns) != (before.inode, before.size, before.mtime_ns):
            os.unlink(here)
            return False
        self.rows[entry.path] = after
        return True

    def bring(self, carrier: Carrier | None) -> None:
        """Have the missing files carried here, and read those that were not checked on the way."""
        if not self.missing:
            return
        if carrier is None:
            raise ReleaseError(
                f"{len(self.missing)} files of the release {self._asking[:12]} are not on this node "
                f"({self.missing[0].path!r} ...), and nobody was named who could bring them"
            )
        checked = carrier.bring(self.missing, self.tree)
        for entry in self.missing:
            path = f"{os.fspath(self.tree)}/{entry.path}"
            if entry.path not in checked:
                if not _arrived(path, entry.sha256):
                    raise NotAsSent(f"{entry.path!r} did not arrive as it was sent")
                os.chmod(path, sealed(entry))
            self.rows[entry.path] = row(self.tree, entry.path)


def _arrived(path: str, sha256: str) -> bool:
    try:
        return hash_file(path)[0] == sha256
    except OSError as error:
        if cannot_give(error):
            return False
        raise


def _finish(shelf: Shelf, manifest: Manifest, made: Building) -> None:
    """Seal the tree, make sure that it is what was built, note what is known of it, and give it its name."""
    top, tree = os.fspath(made.tree), shelf.tree(manifest.digest)
    folders = manifest.folders()
    for folder in folders:
        os.chmod(f"{top}/{folder}", SEALED_FOLDER)
    known.tick_over(shelf.releases, max((found.ctime_ns for found in made.rows.values()), default=0))
    rows = look(made.tree)
    hashes = {entry.path: entry.sha256 for entry in manifest.files()}
    for found in rows:
        if found.path in hashes and made.rows[found.path] != found:
            _look_closer(made.tree, found, made.rows[found.path], hashes[found.path])
    if len(rows) != 1 + len(folders) + len(manifest.entries):
        raise ReleaseDamaged("something was added to the release or taken from it while it was built; try again")
    known.note(shelf, {r.inode: known.fact(r, hashes[r.path]) for r in rows if r.path in hashes})
    os.rename(top, tree)
    os.chmod(tree, SEALED_FOLDER)
    _sync_folder(shelf.releases)
    rows[0] = top_row(tree)
    sidecar.write(shelf.seen(manifest.digest), fingerprint(rows))


def _look_closer(tree: Path, found: Row, built: Row, sha256: str) -> None:
    # Another builder linked the same inode, or a release that shares it was removed: only its ctime moved.
    same = found._replace(ctime_ns=0) == built._replace(ctime_ns=0)
    if not same or hash_file(f"{os.fspath(tree)}/{found.path}")[0] != sha256:
        raise ReleaseDamaged(f"{found.path!r} was changed while the release was built; try again")


def _refuse_twins(folder: Path, manifest: Manifest) -> None:
    case, form = blind_to(folder)
    pairs = collisions(manifest.entries, case=case, form=form) if case or form else []
    if pairs:
        said = "; ".join(f"{one!r} and {other!r}" for one, other in pairs[:5])
        raise NamesCollide(
            f"the disk of {folder} cannot tell these names apart: {said}; "
            "rename one of each, or leave one out (.infraignore)"
        )


def blind_to(folder: Path) -> tuple[bool, bool]:
    """Return whether the disk is blind to case, and whether it is blind to the Unicode form of names."""
    with tempfile.TemporaryDirectory(prefix=".probe-", dir=folder) as probe:
        os.mkdir(f"{probe}/case")
        os.mkdir(f"{probe}/\u00e9")
        return os.path.exists(f"{probe}/CASE"), os.path.exists(f"{probe}/e\u0301")


def _sync_folder(folder: Path) -> None:
    """Have the new name on the disk. The files may follow: one that did not shows another size and is mended."""
    fd = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
