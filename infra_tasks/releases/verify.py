"""Find out whether the tree of a release is what its manifest says, by a stat walk; mend what is not."""
# No Path objects here: this is called for each of ten thousand files.
# ruff: noqa: PTH115

from __future__ import annotations

import os
import stat
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from infra_tasks.errors import NodeUnreachable, ReleaseBusy, ReleaseDamaged, ReleaseError
from infra_tasks.model.manifest import Entry, Manifest, by_path
from infra_tasks.releases import known, sidecar
from infra_tasks.releases.copying import cannot_give
from infra_tasks.releases.layout import SEALED_FOLDER, Release
from infra_tasks.releases.locks import AT_ONCE, EXCLUSIVE, held, held_while
from infra_tasks.releases.mend import mend
from infra_tasks.releases.reading import hash_file
from infra_tasks.releases.setup_record import products
from infra_tasks.releases.snapshot import recall
from infra_tasks.releases.supply import sealed
from infra_tasks.releases.trouble import said_of
from infra_tasks.releases.walk import Row, fingerprint, glance, look

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping
    from collections.abc import Set as AbstractSet

    from infra_tasks.releases.layout import Shelf
    from infra_tasks.releases.supply import Carrier


DAMAGES = ("is missing", "was added", "was changed")


def is_damaged(path: str, damage: Collection[str]) -> bool:
    """Say whether what was found wrong with a release (`Release.damaged`) names this path."""
    return any(f"{path!r} {what}" in damage for what in DAMAGES)


@dataclass
class Findings:
    """What differs from the manifest. `doubtful` may be right: somebody touched it, so it must be read."""

    missing: list[str] = field(default_factory=list)
    extra: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    doubtful: list[Row] = field(default_factory=list)

    def damage(self) -> tuple[str, ...]:
        """Name everything that is wrong."""
        said = zip(DAMAGES, (self.missing, self.extra, self.wrong), strict=True)
        return tuple(f"{path!r} {what}" for what, paths in said for path in paths)


def verify(release: Release, carrier: Carrier | None = None, wanted: Callable[[], bool] | None = None) -> Release:
    """Return the release, right again if it was not; with `damaged` if it cannot be mended while something runs in it.

    A tree nobody touched costs a stat walk. `carrier` brings files no other release here has. Raises ReleaseDamaged if
    it cannot be mended at all, FileNotFoundError if there is no such tree, ReleaseBusy if somebody still works on it
    when it is not `wanted` any more.
    """
    if _untouched(release.shelf, release.digest):
        return release
    shelf, digest = release.shelf, release.digest
    with held_while(wanted, shelf.work(digest)) as work:
        if work is None:
            raise ReleaseBusy(f"the release {digest[:12]} of {shelf.project} is being built, mended or set up")
        if _untouched(shelf, digest):
            return release
        with said_of(f"the release {digest[:12]} cannot be checked", shelf.releases):
            return release.with_damage(make_right(shelf, digest, carrier))


def make_right(shelf: Shelf, digest: str, carrier: Carrier | None) -> tuple[str, ...]:
    """Look closely and mend; return the damage that stays while it is in use. The caller holds the work lock."""
    manifest = recall(shelf, digest)
    if manifest is None:
        raise ReleaseDamaged(
            f"the manifest of the release {digest[:12]} is lost: {shelf.manifest(digest)}; dispatch again"
        )
    if not (found := inspect(shelf, manifest)).damage():
        return ()
    with held(shelf.use(digest), EXCLUSIVE | AT_ONCE) as alone:
        if alone is None:
            return found.damage()
        try:
            mend(shelf, manifest, [*found.missing, *found.wrong], found.extra, carrier)
        except ReleaseError as error:
            kind = NodeUnreachable if isinstance(error, NodeUnreachable) else ReleaseDamaged
            raise kind(f"the release {digest[:12]} is damaged ({_few(found)}) and cannot be mended: {error}") from error
        left = inspect(shelf, manifest)
        if left.damage():
            raise ReleaseDamaged(f"the release {digest[:12]} was mended and is damaged again: {_few(left)}")
    return ()


def inspect(shelf: Shelf, manifest: Manifest) -> Findings:
    """Compare a tree with its manifest, reading what is not known; note what was learned, and a tree that is right."""
    tree, digest = shelf.tree(manifest.digest), manifest.digest
    rows = look(tree, products(shelf, digest))
    entries = by_path(manifest)
    found = compare(entries, manifest.folders(), rows, known.load(shelf))
    links = (path for path, entry in entries.items() if entry.kind == "link" and path not in found.missing)
    found.wrong += [path for path in links if _target(f"{tree}/{path}") != entries[path].target]
    news: known.Facts = {}
    for row in found.doubtful:
        if _reads_as(f"{tree}/{row.path}", row, entries[row.path].sha256):
            news[row.inode] = known.fact(row, entries[row.path].sha256)
        else:
            found.wrong.append(row.path)
    if news:
        known.tick_over(shelf.releases, max(ctime for _, _, ctime, _ in news.values()))
        if look(tree, products(shelf, digest)) != rows:
            return found  # somebody is at it: what was learned is not kept
        known.note(shelf, news)
    if not found.damage():
        sidecar.write(shelf.seen(digest), fingerprint(rows))
    return found


def compare(entries: Mapping[str, Entry], folders: AbstractSet[str], rows: list[Row], facts: known.Facts) -> Findings:
    """Say how a tree differs from what it should be. Pure: what must be read for it is `doubtful`."""
    found = Findings()
    seen = set()
    for row in rows:
        seen.add(row.path)
        entry = entries.get(row.path)
        if entry is None:
            _compare_folder(row, folders, found)
        elif entry.kind == "link":
            pass  # its target is looked at by the caller
        elif not stat.S_ISREG(row.mode) or row.mode & 0o7777 != sealed(entry):
            found.wrong.append(row.path)
        elif not known.holds(facts, row, entry.sha256):
            found.doubtful.append(row)
    found.missing += sorted((entries.keys() | folders) - seen)
    found.extra = _topmost(found.extra)
    return found


def _compare_folder(row: Row, folders: AbstractSet[str], found: Findings) -> None:
    if row.path and row.path not in folders:
        found.extra.append(row.path)
    elif row.mode != stat.S_IFDIR | SEALED_FOLDER:
        found.wrong.append(row.path)


def _topmost(paths: list[str]) -> list[str]:
    every = set(paths)
    return sorted(path for path in every if path.rpartition("/")[0] not in every)


def _untouched(shelf: Shelf, digest: str) -> bool:
    seen = sidecar.read(shelf.seen(digest))
    return seen is not None and seen == fingerprint(glance(shelf.tree(digest), products(shelf, digest)))


def _reads_as(path: str, row: Row, sha256: str) -> bool:
    try:
        found, after = hash_file(path)
    except OSError as error:
        if cannot_give(error):
            return False
        raise
    return found == sha256 and (after.st_ino, after.st_ctime_ns) == (row.inode, row.ctime_ns)


def _target(path: str) -> str | None:
    try:
        return os.readlink(path)
    except OSError:
        return None


def _few(found: Findings) -> str:
    damage = found.damage()
    return "; ".join(damage[:5]) + (f" and {len(damage) - 5} more" if len(damage) > 5 else "")
