"""A manifest on its way to a node that may know another one of the project: then only the difference goes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from infra_tasks.errors import BaseLost, ReleaseError
from infra_tasks.model.manifest import Manifest, entries_of, rows_of
from infra_tasks.releases.snapshot import recall
from infra_tasks.releases.supply import BASES, by_last_use

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from infra_tasks.releases.layout import Shelf

    Message = dict[str, Any]


def bases(shelf: Shelf) -> list[str]:
    """Return the releases whose manifests could be a base here, the one used last first."""
    return by_last_use(shelf)[:BASES]


def pack(shelf: Shelf, manifest: Manifest, far_bases: Sequence[str]) -> Message:
    """Return a manifest as it is sent to a node that holds `far_bases`."""
    for digest in far_bases:
        base = recall(shelf, digest)
        if base is not None:
            return _difference(base, manifest)
    return {"rows": rows_of(manifest.entries)}


def _difference(base: Manifest, manifest: Manifest) -> Message:
    old = {entry.path: entry for entry in base.entries}
    news = [entry for entry in manifest.entries if old.pop(entry.path, None) != entry]
    return {"base": base.digest, "gone": [*old, *(entry.path for entry in news)], "rows": rows_of(news)}


def unpack(shelf: Shelf, message: Message, digest: str) -> Manifest:
    """Return the manifest that was sent. Raises BaseLost, and ReleaseError if it is not the one with this digest."""
    told = entries_of(message["rows"])
    if "base" in message:
        base = recall(shelf, message["base"])
        if base is None:
            raise BaseLost(f"the manifest of the release {message['base'][:12]} was lost here; try again")
        gone = set(message["gone"])
        manifest = Manifest.of([*(entry for entry in base.entries if entry.path not in gone), *told])
    else:
        manifest = Manifest.of(told)
    if manifest.digest != digest:
        raise ReleaseError(f"the manifest that was sent has the digest {manifest.digest[:12]}, not {digest[:12]}")
    return manifest
