"""A copy of a release that one run may write to: nothing in it is shared with any other tree."""
# No Path objects here: this is called for each of ten thousand files.
# ruff: noqa: PTH102, PTH211

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

from infra_tasks.errors import ReleaseDamaged, ReleaseError
from infra_tasks.releases import known
from infra_tasks.releases.copying import cannot_give, clone, copy_checked
from infra_tasks.releases.layout import OPEN_FOLDER
from infra_tasks.releases.locks import held
from infra_tasks.releases.mend import stage
from infra_tasks.releases.removing import remove_tree
from infra_tasks.releases.setup_record import products
from infra_tasks.releases.snapshot import recall
from infra_tasks.releases.trouble import said_of
from infra_tasks.releases.walk import row_of

if TYPE_CHECKING:
    from pathlib import Path

    from infra_tasks.model.manifest import Entry
    from infra_tasks.releases.layout import Release, Shelf
    from infra_tasks.releases.supply import Carrier


def private_copy(release: Release, into: Path, *, carrier: Carrier | None = None) -> Path:
    """Make the folder `into` (which must not be there) a writable copy of the release and of what its setup made.

    Blocks are shared where the disk can, inodes never. Every file is checked; one that is damaged in the release comes
    from another release or from `carrier`. Hold the release while the copy is used: what a setup makes (a .venv) may
    lead back to it. Raises ReleaseDamaged, ReleaseError. The time stamps are those of the copy.
    """
    shelf, digest = release.shelf, release.digest
    manifest = recall(shelf, digest)
    if manifest is None:
        raise ReleaseDamaged(f"the manifest of the release {digest[:12]} is lost; dispatch again")
    with said_of(f"no private copy of the release {digest[:12]} can be made", into):
        into.mkdir(parents=True)
        for folder in sorted(manifest.folders()):
            os.mkdir(into / folder, OPEN_FOLDER)
        copy = _Copy(shelf, release.path, into)
        bad = [entry for entry in manifest.entries if not copy.take(entry)]
        if bad:
            _mend_copy(shelf, digest, bad, into, carrier)
        for path in products(shelf, digest):
            _copy_product(release.path / path, into / path)
    return into


class _Copy:
    """Files on their way from a release into a copy."""

    def __init__(self, shelf: Shelf, tree: Path, into: Path) -> None:
        self._facts = known.load(shelf)
        self._from = os.fspath(tree)
        self._to = os.fspath(into)
        self._clones = True

    def take(self, entry: Entry) -> bool:
        """Copy one entry; False if the release does not have it as it should be."""
        there, here = f"{self._from}/{entry.path}", f"{self._to}/{entry.path}"
        if entry.kind == "link":
            os.symlink(entry.target, here)
            return True
        try:
            untouched = known.holds(self._facts, row_of(entry.path, os.lstat(there)), entry.sha256)
            if untouched and self._clones:
                self._clones = clone(there, here, entry.mode)
                if self._clones:
                    return True
            return copy_checked(there, here, entry.mode, entry.sha256)
        except OSError as error:
            if cannot_give(error):
                return False
            raise


def _mend_copy(shelf: Shelf, digest: str, bad: list[Entry], into: Path, carrier: Carrier | None) -> None:
    with held(shelf.work(digest)):
        try:
            staged = stage(shelf, digest, bad, carrier)
        except ReleaseError as error:
            raise ReleaseDamaged(
                f"the release {digest[:12]} is damaged and in use, and {bad[0].path!r} is nowhere else: {error}"
            ) from error
        try:
            for entry in bad:
                there = f"{staged.tree}/{entry.path}"
                if not copy_checked(there, f"{into}/{entry.path}", entry.mode, entry.sha256):
                    raise ReleaseDamaged(f"{entry.path!r} changed while it was copied; try again")
        finally:
            remove_tree(shelf, staged.tree)


def _copy_product(there: Path, here: Path) -> None:
    if there.is_dir() and not there.is_symlink():
        shutil.copytree(there, here, symlinks=True)
    elif there.is_symlink() or there.exists():
        shutil.copy2(there, here, follow_symlinks=False)
