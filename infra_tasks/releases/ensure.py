"""The door to the code on a node: whatever was there before, the release is here and right when this returns."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

from infra_tasks.errors import ReleaseBusy, ReleaseDamaged, SourceChanging
from infra_tasks.releases.build import build
from infra_tasks.releases.layout import Release, Shelf
from infra_tasks.releases.locks import SHARED, held_while, take
from infra_tasks.releases.prune import sweep_leftovers
from infra_tasks.releases.snapshot import recall, snapshot
from infra_tasks.releases.supply import LocalCarrier
from infra_tasks.releases.trouble import said_of
from infra_tasks.releases.verify import verify

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from infra_tasks.model.manifest import Manifest
    from infra_tasks.releases.layout import Source
    from infra_tasks.releases.supply import Carrier
    from infra_tasks.settings import Home


def ensure_release(
    home: Home,
    project: str,
    digest: str,
    *,
    source: Source | None = None,
    carrier: Carrier | None = None,
    wanted: Callable[[], bool] | None = None,
) -> Release:
    """Return the release with this digest, verified now; build it if it is not here.

    Its manifest must be here (a snapshot was taken on this node, or dispatch brought it), or be that of `source` as it
    is. Files come from other releases of the project, else from `carrier`, else from `source`. Asked for twice at once,
    one builds and the other waits. `damaged` in the answer means: something runs in it, use a private copy.

    Raises ReleaseError and its kinds; ReleaseBusy if somebody still builds, mends or sets it up when it is not `wanted`
    any more; SourceChanging if the source is no longer what the digest says: snapshot again.
    """
    shelf = Shelf(home, project)
    if carrier is None and source is not None:
        carrier = LocalCarrier(source)
    release = Release(shelf, digest)
    while True:
        # A release may be pruned between two looks; then it is simply built again.
        with suppress(FileNotFoundError):
            if release.path.is_dir():
                _touch(release)
                return verify(release, carrier, wanted)
        with (
            said_of(f"the release {digest[:12]} cannot be built", shelf.releases),
            held_while(wanted, shelf.work(digest)) as work,
        ):
            if work is None:
                raise ReleaseBusy(f"the release {digest[:12]} of {project} is being built, mended or set up")
            if not release.path.is_dir():
                manifest = _manifest(home, shelf, digest, source, carrier)
                sweep_leftovers(shelf)
                brought = build(shelf, manifest, carrier)
                _touch(release)
                return Release(shelf, digest, brought=brought)


def hold(release: Release) -> int:
    """Return an fd that keeps the release from being changed or removed until its last copy is closed.

    Hand it to the shim. Raises ReleaseDamaged if the release was pruned since it was ensured: ensure it again.
    """
    fd = take_while_there(release, release.shelf.use(release.digest))
    os.utime(fd)
    return fd


def take_while_there(release: Release, lock: Path) -> int:
    """Share a lock of a release that is here. Raises ReleaseDamaged, and leaves no lock, if it was removed."""
    if release.path.is_dir():
        fd = take(lock, SHARED)
        if fd is not None and release.path.is_dir():
            return fd
        if fd is not None:
            os.close(fd)
    raise ReleaseDamaged(f"the release {release.digest[:12]} was removed in between; try again")


def is_held(shelf: Shelf, digest: str) -> bool:
    """Say whether a release is here and was right when it was looked at last; then it counts as used now.

    A look, no guarantee: whoever starts something in it ensures it.
    """
    if not (shelf.tree(digest).is_dir() and shelf.seen(digest).exists()):
        return False
    _touch(Release(shelf, digest))
    return True


def _manifest(home: Home, shelf: Shelf, digest: str, source: Source | None, carrier: Carrier | None) -> Manifest:
    manifest = recall(shelf, digest) or (carrier.manifest(digest) if carrier is not None else None)
    if manifest is not None:
        return manifest
    if source is None:
        raise ReleaseDamaged(
            f"the release {digest[:12]} of {shelf.project} is not on this node, nor is its manifest; dispatch again"
        )
    taken = snapshot(home, shelf.project, source)
    if taken.digest != digest:
        raise SourceChanging(
            f"the release {digest[:12]} of {shelf.project} is not on this node, and {source.path} has moved on "
            f"to {taken.digest[:12]}; submit again to run what is there now"
        )
    return taken.manifest


def _touch(release: Release) -> None:
    """Remember that the release was used now, for prune."""
    use = release.shelf.use(release.digest)
    use.touch(mode=0o600)
