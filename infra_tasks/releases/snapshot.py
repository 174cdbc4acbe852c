"""Take the exact state of a project's source: its manifest. An unchanged tree costs a walk."""

from __future__ import annotations

import hashlib
import os
import time
from functools import cached_property
from typing import TYPE_CHECKING

from infra_tasks.errors import ReleaseDamaged, ReleaseError, SourceChanging, SourceUnreadable
from infra_tasks.model.manifest import Manifest
from infra_tasks.releases import sidecar
from infra_tasks.releases.layout import Shelf
from infra_tasks.releases.taking import Seen, Taking
from infra_tasks.releases.uncollected import uncollected

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from infra_tasks.releases.layout import Release, Source
    from infra_tasks.settings import Home

# A tree that still changes after so many passes is not going to hold still.
PASSES = 6
# In the name of the file that keeps what was seen: another version reads another file.
_KEPT = 2
# Manifests this process wrote or read last, so that whoever builds right after a snapshot need not parse one. Larger
# ones are not worth their memory.
_LAST = 3
_LAST_ENTRIES = 20_000


class Snapshot:
    """The tree as it was in one moment. `hashed_files` had to be read; the rest was known."""

    def __init__(self, seen: Seen, hashed_files: int, digest: str) -> None:
        self.hashed_files = hashed_files
        self._seen = seen
        self._digest = digest

    @property
    def digest(self) -> str:
        """The name of the release."""
        return self._digest or self.manifest.digest

    @cached_property
    def manifest(self) -> Manifest:
        """Everything in it. Made when it is asked for: most trees are unchanged, and their digest is enough."""
        return Manifest.of(self._seen.entries())


def snapshot(home: Home, project: str, source: Source, *, now_ns: Callable[[], int] = time.time_ns) -> Snapshot:
    """Return what the source is now, and keep its manifest beside the releases of the project.

    The tree is walked until what was seen was all there at one time. `now_ns` is wall time. Raises SourceUnreadable
    (gone, or a file cannot be read) and SourceChanging.
    """
    with uncollected():
        return _taken(Shelf(home, project), source, now_ns)


def _taken(shelf: Shelf, source: Source, now_ns: Callable[[], int]) -> Snapshot:
    place = shelf.cache / f"source-{_name_of(source.path)}-{_KEPT}"
    kept, digest = _kept(place)
    taking = Taking(shelf, source, kept, now_ns)
    for _ in range(PASSES):
        if taking.run_once():
            break
    else:
        raise SourceChanging(
            f"{source.path} kept changing while it was read, lately {', '.join(taking.news[:3])}; "
            "wait until it holds still, or leave out what always changes (.infraignore)"
        )
    if not taking.seen.paths:
        raise SourceUnreadable(f"{source.path}: there is no file to send; is it empty, not mounted, or all left out?")
    taken = Snapshot(taking.seen, taking.hashed_files, "" if taking.differs else digest)
    if not shelf.manifest(taken.digest).exists():
        note(shelf, taken.manifest)
    if taking.seen is not kept:
        sidecar.write_cache(place, (taken.digest, *taking.to_keep()))
    return taken


def _kept(place: Path) -> tuple[Seen, str]:
    kept = sidecar.read_cache(place)
    return (Seen.of(kept[1:]), kept[0]) if kept else (Seen.nothing(), "")


def note(shelf: Shelf, manifest: Manifest) -> None:
    """Keep a manifest beside the releases, so that its digest is enough to ask for the release."""
    place = shelf.manifest(manifest.digest)
    if not place.exists():
        sidecar.write(place, manifest.to_json().encode(), durable=True)
        _remember(place, manifest)


def recall(shelf: Shelf, digest: str) -> Manifest | None:
    """Return a kept manifest; None if there is none that is whole."""
    place = shelf.manifest(digest)
    last = _last.get(os.fspath(place))
    if last is not None and last[0] == _state(place):
        return last[1]
    text = sidecar.read(place)
    if text is None:
        return None
    try:
        manifest = Manifest.from_json(text)
    except ReleaseError:
        manifest = None
    if manifest is None or manifest.digest != digest:
        place.unlink(missing_ok=True)
        return None
    _remember(place, manifest)
    return manifest


def manifest_of(release: Release) -> Manifest:
    """Return the manifest of a release on this node. Raises ReleaseDamaged if it is lost."""
    manifest = recall(release.shelf, release.digest)
    if manifest is None:
        raise ReleaseDamaged(f"the manifest of the release {release.digest[:12]} is lost; dispatch again")
    return manifest


_last: dict[str, tuple[tuple[int, ...], Manifest]] = {}


def _remember(place: Path, manifest: Manifest) -> None:
    if len(manifest.entries) <= _LAST_ENTRIES:
        _last.pop(os.fspath(place), None)
        _last[os.fspath(place)] = (_state(place), manifest)
        for old in list(_last)[:-_LAST]:
            _last.pop(old, None)


def _state(place: Path) -> tuple[int, ...]:
    try:
        seen = place.stat()
    except FileNotFoundError:
        return ()
    return seen.st_ino, seen.st_size, seen.st_mtime_ns, seen.st_ctime_ns


def _name_of(path: Path) -> str:
    return hashlib.sha256(os.fsencode(path)).hexdigest()[:16]
