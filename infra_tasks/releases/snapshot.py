"""Take the exact state of a project's source: its manifest. An unchanged tree costs a walk."""
# No Path objects here: ten thousand of them would cost more than the walk.
# ruff: noqa: PTH115

from __future__ import annotations

import hashlib
import os
import posixpath
import stat
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from infra_tasks.errors import ReleaseDamaged, ReleaseError, SourceChanging, SourceUnreadable
from infra_tasks.model.manifest import EXECUTABLE, PLAIN, Entry, Manifest
from infra_tasks.releases import sidecar
from infra_tasks.releases.layout import Shelf
from infra_tasks.releases.listing import list_source
from infra_tasks.releases.reading import Changing, hash_file

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from infra_tasks.releases.layout import Release, Source
    from infra_tasks.settings import Home

# A file that was hashed sooner than this after its last change may change again within one tick of the disk's clock,
# and stat would not show it. Such a hash is used once and not kept (git calls these entries racily clean).
TICK_NS = 100_000_000
# Disks that only know whole seconds (HFS+, some network disks) need more.
COARSE_TICK_NS = 2_000_000_000
# A tree that still changes after so many passes is not going to hold still.
PASSES = 6

# By path: size, mtime_ns, ctime_ns, inode and the sha256 of the content.
Known = dict[str, tuple[int, int, int, int, str]]


@dataclass(frozen=True)
class Snapshot:
    """The tree as it was in one moment. `hashed_files` had to be read; the rest was known."""

    manifest: Manifest
    hashed_files: int

    @property
    def digest(self) -> str:
        """The name of the release."""
        return self.manifest.digest


def snapshot(home: Home, project: str, source: Source, *, now_ns: Callable[[], int] = time.time_ns) -> Snapshot:
    """Return what the source is now, and keep its manifest beside the releases of the project.

    The tree is walked until a pass finds nothing new, so what is returned was all there at one time. `now_ns` is wall
    time. Raises SourceUnreadable (gone, or a file cannot be read) and SourceChanging.
    """
    shelf = Shelf(home, project)
    place = shelf.cache / f"source-{_name_of(source.path)}"
    kept: Known = sidecar.read_cache(place) or {}
    taken = _Taking(source.path, kept, now_ns)
    for _ in range(PASSES):
        entries = taken.run_once(list_source(shelf, source))
        if not taken.news:
            return _keep(shelf, place, kept, taken, Manifest.of(entries))
    raise SourceChanging(
        f"{source.path} kept changing while it was read, lately {', '.join(taken.news[:3])}; "
        "wait until it holds still, or leave out what always changes (.infraignore)"
    )


def _keep(shelf: Shelf, place: Path, kept: Known, taken: _Taking, manifest: Manifest) -> Snapshot:
    if not manifest.entries:
        raise SourceUnreadable(f"{taken.root}: there is no file to send; is it empty, not mounted, or all left out?")
    trusted = {path: known for path, known in taken.known.items() if path not in taken.racy}
    if trusted != kept:
        sidecar.write_cache(place, trusted)
    note(shelf, manifest)
    return Snapshot(manifest, taken.hashed_files)


def note(shelf: Shelf, manifest: Manifest) -> None:
    """Keep a manifest beside the releases, so that its digest is enough to ask for the release."""
    place = shelf.manifest(manifest.digest)
    if not place.exists():
        sidecar.write(place, manifest.to_json().encode(), durable=True)


def recall(shelf: Shelf, digest: str) -> Manifest | None:
    """Return a kept manifest; None if there is none that is whole."""
    text = sidecar.read(shelf.manifest(digest))
    if text is None:
        return None
    try:
        manifest = Manifest.from_json(text)
    except ReleaseError:
        manifest = None
    if manifest is None or manifest.digest != digest:
        shelf.manifest(digest).unlink(missing_ok=True)
        return None
    return manifest


def manifest_of(release: Release) -> Manifest:
    """Return the manifest of a release on this node. Raises ReleaseDamaged if it is lost."""
    manifest = recall(release.shelf, release.digest)
    if manifest is None:
        raise ReleaseDamaged(f"the manifest of the release {release.digest[:12]} is lost; dispatch again")
    return manifest


class _Taking:
    """Passes over one source, each knowing what the one before has read."""

    def __init__(self, root: Path, kept: Known, now_ns: Callable[[], int]) -> None:
        self.root = root
        self.known = kept
        self.racy: set[str] = set()
        self.news: list[str] = []
        self.hashed_files = 0
        self._now_ns = now_ns

    def run_once(self, paths: list[str]) -> list[Entry]:
        """Look at every path, read what is not known; `news` names what had to be read."""
        self.news = []
        top = os.fspath(self.root) + "/"
        entries: list[Entry] = []
        seen: Known = {}
        for path in paths:
            try:
                found = os.lstat(top + path)
                if stat.S_ISREG(found.st_mode):
                    known = self.known.get(path)
                    if known is None or known[:4] != _state(found):
                        known = self._read(top, path)
                    seen[path] = known
                    mode = EXECUTABLE if found.st_mode & 0o100 else PLAIN
                    entries.append(Entry(path, "file", mode, known[0], known[4]))
                elif stat.S_ISLNK(found.st_mode):
                    entries.append(self._link(top, path))
            except (FileNotFoundError, NotADirectoryError):
                continue  # tracked and deleted, or deleted since it was listed
            except OSError as error:
                raise _refused(self.root, path, error) from error
        self.known = seen
        self.racy &= seen.keys()
        return _without_what_links_hide(entries)

    def _link(self, top: str, path: str) -> Entry:
        target = os.readlink(top + path)
        _check_link(self.root, path, target)
        return Entry(path, "link", EXECUTABLE, len(os.fsencode(target)), "", target)

    def _read(self, top: str, path: str) -> tuple[int, int, int, int, str]:
        began_ns = self._now_ns()
        digest, found = hash_file(top + path)
        self.news.append(path)
        self.hashed_files += 1
        coarse = found.st_ctime_ns % 1_000_000_000 == 0
        if found.st_ctime_ns + (COARSE_TICK_NS if coarse else TICK_NS) > began_ns:
            self.racy.add(path)
        else:
            self.racy.discard(path)
        return *_state(found), digest


def _state(found: os.stat_result) -> tuple[int, int, int, int]:
    return found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino


def _refused(root: Path, path: str, error: OSError) -> SourceChanging | SourceUnreadable:
    if isinstance(error, Changing):
        return SourceChanging(f"{path!r} in {root} {error.strerror}; wait, or leave it out (.infraignore)")
    return SourceUnreadable(
        f"{path!r} in {root} cannot be read: {error.strerror}; make it readable, or leave it out (.infraignore)"
    )


def _check_link(root: Path, path: str, target: str) -> None:
    """Refuse links that would lead elsewhere in a release than here: G5 promises this code and no other.

    An absolute link to something outside (`/usr/share/dict`) means the node's own and goes as it is.
    """
    if target.startswith("/"):
        inside = (os.fspath(root) + "/", os.path.realpath(root) + "/")
        if not os.path.normpath(target).startswith(inside):
            return
        wrong = "leads by an absolute path into the source itself, which a release must not depend on: make it relative"
    elif posixpath.normpath(posixpath.join(posixpath.dirname(path), target)).split("/", 1)[0] != "..":
        return
    else:
        wrong = "leads out of the source, and what it leads to would not be sent: make it a copy"
    raise SourceUnreadable(f"the link {path!r} -> {target!r} in {root} {wrong}, or leave it out (.infraignore)")


def _without_what_links_hide(entries: list[Entry]) -> list[Entry]:
    """Drop tracked files whose folder has become a link: git still lists them, the tree has them no more."""
    hidden = tuple(entry.path + "/" for entry in entries if entry.kind == "link")
    if not hidden:
        return entries
    return [entry for entry in entries if not entry.path.startswith(hidden)]


def _name_of(path: Path) -> str:
    return hashlib.sha256(os.fsencode(path)).hexdigest()[:16]
