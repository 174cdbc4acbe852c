"""Build a release beside the others: link what a base shares, bring what is missing, check all, give it its name."""
# No Path objects here: this is called for each of ten thousand files.
# ruff: noqa: PTH101, PTH102, PTH104, PTH110

from __future__ import annotations

import os
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING

from infra_tasks.errors import NamesCollide, ReleaseDamaged
from infra_tasks.model.manifest import collisions
from infra_tasks.releases import known, sidecar
from infra_tasks.releases.building import Building
from infra_tasks.releases.layout import SEALED_FOLDER, Brought
from infra_tasks.releases.reading import hash_file
from infra_tasks.releases.removing import remove_tree
from infra_tasks.releases.setup_record import forget
from infra_tasks.releases.snapshot import note
from infra_tasks.releases.trouble import said_of
from infra_tasks.releases.walk import Row, fingerprint, glance, plain_top

if TYPE_CHECKING:
    from pathlib import Path

    from infra_tasks.model.manifest import Manifest
    from infra_tasks.releases.layout import Shelf
    from infra_tasks.releases.supply import Carrier


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
        for left in shelf.half_built(manifest.digest):
            remove_tree(shelf, left)
        forget(shelf, manifest.digest)  # a setup of before was done in a tree that is gone
        try:
            made = Building(shelf, manifest.entries, tree, manifest.digest, manifest.folders())
            with ThreadPoolExecutor(1) as beside:
                noted = beside.submit(note, shelf, manifest)  # the disk may take its time meanwhile
                made.gather(carrier)
                noted.result()
            _finish(shelf, manifest, made)
        except BaseException:
            with suppress(OSError):
                remove_tree(shelf, tree)
            raise
    sizes = sum(entry.size for entry in made.missing)
    return Brought(len(made.missing), sizes, made.shared_files, time.monotonic() - began)


def _finish(shelf: Shelf, manifest: Manifest, made: Building) -> None:
    """Seal the tree, make sure that it is what was built, note what is known of it, and give it its name."""
    top, tree = os.fspath(made.tree), shelf.tree(manifest.digest)
    folders = manifest.folders()
    for folder in folders:
        os.chmod(f"{top}/{folder}", SEALED_FOLDER)
    known.tick_over(shelf.releases, made.newest_ns())
    rows = glance(made.tree)
    hashes = {path: sha256 for path, kind, _, _, sha256, _ in manifest.entries if kind == "file"}
    news: known.Facts = {}
    for found in rows:
        path, _, inode, size, mtime_ns, ctime_ns = found
        sha256 = hashes.get(path)
        if sha256 is not None:
            if made.rows[path] != found:
                _look_closer(made.tree, Row._make(found), Row._make(made.rows[path]), sha256)
            news[inode] = size, mtime_ns, ctime_ns, sha256
    if len(rows) != 1 + len(folders) + len(manifest.entries):
        raise ReleaseDamaged("something was added to the release or taken from it while it was built; try again")
    known.note(shelf, news, loaded=made.loaded)
    os.rename(top, tree)
    os.chmod(tree, SEALED_FOLDER)
    _sync_folder(shelf.releases)
    rows[0] = plain_top(tree)
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
