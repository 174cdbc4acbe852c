"""Where the bytes of a file can be had: releases of the project on this node, then whoever carries from the source."""
# No Path objects here: this is called for each of ten thousand files.
# ruff: noqa: PTH112

from __future__ import annotations

import errno
import os
from contextlib import suppress
from typing import TYPE_CHECKING, Protocol

from infra_tasks.errors import NodeUnreachable, ReleaseError, SourceChanging, SourceUnreadable
from infra_tasks.model.manifest import PLAIN, Entry
from infra_tasks.model.weight import weight_of
from infra_tasks.releases import sidecar
from infra_tasks.releases.copying import cannot_give, copy_checked
from infra_tasks.releases.layout import DIGEST, SEALED_EXECUTABLE, SEALED_PLAIN
from infra_tasks.releases.snapshot import recall
from infra_tasks.releases.trouble import unreadable

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence
    from pathlib import Path

    from infra_tasks.model.manifest import Manifest
    from infra_tasks.model.weight import Weight
    from infra_tasks.releases.layout import Shelf, Source
    from infra_tasks.releases.walk import Plain

# Looking through more old releases than this for a file costs more than bringing it.
BASES = 3
# So many hashes are found in the text of a manifest sooner than the text is read as a manifest.
FEW = 8


class Carrier(Protocol):
    """Brings files from where the source is: a copy on this machine, rsync from another one."""

    def bring(self, entries: Sequence[Entry], tree: Path) -> Collection[str] | dict[str, Plain]:
        """Write the files below `tree` (their folders are there), with any mode.

        Return the paths whose content was checked on the way and whose mode is sealed, at best with the state each had
        right then; the builder reads the others again. Raises SourceChanging and SourceUnreadable.
        """

    def manifest(self, digest: str) -> Manifest | None:
        """Return the manifest of a release, if whoever carries can tell it."""


class LocalCarrier:
    """Copies from a source on this machine and checks each file while it is copied."""

    def __init__(self, source: Source) -> None:
        self._root = os.fspath(source.path)

    def manifest(self, digest: str) -> Manifest | None:  # noqa: ARG002  a source is what it is now: a snapshot tells
        """Nothing: only a snapshot can say what the source is."""
        return None

    def bring(self, entries: Sequence[Entry], tree: Path) -> Collection[str]:
        """Copy all; SourceChanging at the first file that is not what the manifest says."""
        top = os.fspath(tree)
        for entry in entries:
            path = f"{self._root}/{entry.path}"
            try:
                same = copy_checked(path, f"{top}/{entry.path}", sealed(entry), entry.sha256)
            except OSError as error:
                if not os.path.isdir(self._root):
                    raise SourceUnreadable(f"the source {self._root} is not there any more") from error
                if error.filename != path:
                    raise
                if cannot_give(error) and error.errno != errno.EIO:
                    raise _changed(self._root, entry) from error
                raise unreadable(f"{entry.path!r} in {self._root}", error) from error
            if not same:
                raise _changed(self._root, entry)
        return {entry.path for entry in entries}


class Weighed:
    """A carrier that says how much is asked of it before it brings that."""

    def __init__(self, carrier: Carrier, weighed: Callable[[Weight], object]) -> None:
        self._carrier = carrier
        self._weighed = weighed

    def manifest(self, digest: str) -> Manifest | None:
        """Return what the carrier tells."""
        return self._carrier.manifest(digest)

    def bring(self, entries: Sequence[Entry], tree: Path) -> Collection[str] | dict[str, Plain]:
        """Say how much, and have it brought."""
        self._weighed(weight_of(entries))
        return self._carrier.bring(entries, tree)


class Several:
    """Carriers asked one after the other, until one can."""

    def __init__(self, carriers: Sequence[Carrier]) -> None:
        self._carriers = carriers

    @classmethod
    def of(cls, source: Source | None, *others: Carrier) -> Several:
        """Return a carrier that tries the source here first, if there is one."""
        return cls([*([LocalCarrier(source)] if source else []), *others])

    def manifest(self, digest: str) -> Manifest | None:
        """Return what the first one can tell."""
        told = (carrier.manifest(digest) for carrier in self._carriers)
        return next((manifest for manifest in told if manifest is not None), None)

    def bring(self, entries: Sequence[Entry], tree: Path) -> Collection[str] | dict[str, Plain]:
        """Have the first one bring all that can. Raises ReleaseError with what each of them said."""
        refused: list[ReleaseError] = []
        for carrier in self._carriers:
            try:
                return carrier.bring(entries, tree)
            except ReleaseError as error:
                refused.append(error)
        if len(refused) == 1:
            raise refused[0]
        away = any(isinstance(error, NodeUnreachable) for error in refused)  # asked again, it may be there
        raise (NodeUnreachable if away else ReleaseError)("\n".join(str(error) for error in refused))


def _changed(root: str, entry: Entry) -> SourceChanging:
    said = f"{entry.path!r} in {root} is not what it was when the snapshot was taken"
    return SourceChanging(f"{said}; take a new one")


def sealed(entry: Entry) -> int:
    """Return the mode an entry's file has in a release."""
    return SEALED_PLAIN if entry.mode == PLAIN else SEALED_EXECUTABLE


def bases(shelf: Shelf, digest: str, wanted: Callable[[], Sequence[Entry]]) -> Iterator[tuple[Path, Manifest]]:
    """Yield other releases here that may have something of what is still `wanted`, the one used last first."""
    for other in by_last_use(shelf)[: BASES + 1]:
        if not (left := wanted()):
            return
        manifest = recall(shelf, other) if other != digest and _may_hold(shelf, other, left) else None
        if manifest is not None:
            yield shelf.tree(other), manifest


def _may_hold(shelf: Shelf, digest: str, entries: Sequence[Entry]) -> bool:
    """Look for a few hashes in the text of a manifest: cheaper than reading it as one."""
    if len(entries) > FEW:
        return True
    text = sidecar.read(shelf.manifest(digest)) or b""
    return any(entry.sha256.encode() in text for entry in entries)


def by_last_use(shelf: Shelf) -> list[str]:
    """Return the digests of all trees on this node, the one used last first."""
    used: list[tuple[int, str]] = []
    with suppress(FileNotFoundError), os.scandir(shelf.releases) as found:
        for item in found:
            if DIGEST.fullmatch(item.name):
                at_ns = 0
                with suppress(FileNotFoundError):
                    at_ns = shelf.use(item.name).stat().st_mtime_ns
                used.append((at_ns, item.name))
    return [digest for _, digest in sorted(used, reverse=True)]
