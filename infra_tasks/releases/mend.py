"""Make a damaged tree right again: new inodes for what is wrong, since old ones may be shared with other releases."""
# No Path objects here: this is called for many files.
# ruff: noqa: PTH101, PTH104

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from infra_tasks.model.manifest import by_path
from infra_tasks.releases import known
from infra_tasks.releases.building import Building
from infra_tasks.releases.layout import OPEN_FOLDER, SEALED_FOLDER
from infra_tasks.releases.removing import remove_tree
from infra_tasks.releases.walk import row

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from infra_tasks.model.manifest import Entry, Manifest
    from infra_tasks.releases.layout import Shelf
    from infra_tasks.releases.supply import Carrier


def mend(
    shelf: Shelf, manifest: Manifest, wanted: Iterable[str], extra: Sequence[str], carrier: Carrier | None
) -> None:
    """Replace what is wrong or missing, remove what was added. The caller holds both locks, exclusively.

    `wanted` may hold folders. Raises ReleaseError if no other release here has a file and nobody can bring it.
    """
    tree = shelf.tree(manifest.digest)
    entries = by_path(manifest)
    broken = [entries[path] for path in wanted if path in entries]
    # First have everything at hand, then touch the tree.
    staged = stage(shelf, manifest.digest, broken, carrier, own=tree)
    try:
        for path in extra:
            _open_parents(tree, path)
            remove_tree(shelf, tree / path)
        _open_folders(shelf, tree, manifest.folders())
        for entry in broken:
            _replace(shelf, tree, staged.tree, entry)
        known.tick_over(shelf.releases, staged.newest_ns())
        hashes = {entry.path: entry.sha256 for entry in broken}
        fresh = {path: row(tree, path) for path in staged.rows}
        known.note(shelf, {found.inode: known.fact(found, hashes[path]) for path, found in fresh.items()})
    finally:
        remove_tree(shelf, staged.tree)
        for folder in ("", *manifest.folders()):
            place = tree / folder
            if place.is_dir() and not place.is_symlink():
                place.chmod(SEALED_FOLDER)


def stage(
    shelf: Shelf, digest: str, entries: Sequence[Entry], carrier: Carrier | None, own: Path | None = None
) -> Building:
    """Bring single files of a release into a folder of their own. The caller holds its work lock.

    With `own`, a file there that only has the wrong mode gives its content.
    """
    for left in shelf.half_built(digest):
        remove_tree(shelf, left)
    place = shelf.building(digest)
    try:
        staged = Building(shelf, entries, place, digest)
        if own is not None:
            staged.copy_from(own)
        staged.gather(carrier)
    except BaseException:
        remove_tree(shelf, place)
        raise
    return staged


def _open_parents(tree: Path, path: str) -> None:
    parents = path.split("/")[:-1]
    for depth in range(len(parents) + 1):
        os.chmod(tree.joinpath(*parents[:depth]), OPEN_FOLDER)


def _open_folders(shelf: Shelf, tree: Path, folders: frozenset[str]) -> None:
    os.chmod(tree, OPEN_FOLDER)
    for folder in sorted(folders):
        place = tree / folder
        if place.is_symlink() or not place.is_dir():
            remove_tree(shelf, place)
            place.mkdir(OPEN_FOLDER)
        place.chmod(OPEN_FOLDER)


def _replace(shelf: Shelf, tree: Path, staged: Path, entry: Entry) -> None:
    place = tree / entry.path
    if place.is_dir() and not place.is_symlink():
        remove_tree(shelf, place)
    os.rename(staged / entry.path, place)
