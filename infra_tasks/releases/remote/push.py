"""Have a release on another node: it builds the release itself, and what it lacks is sent from here."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from infra_tasks.errors import BaseLost, NotAsSent, ReleaseError, SourceChanging, SourceUnreadable
from infra_tasks.releases.layout import Brought
from infra_tasks.releases.remote import parcel, rsync
from infra_tasks.releases.remote.rsync import Carry

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from infra_tasks.model.manifest import Manifest
    from infra_tasks.releases.layout import Shelf
    from infra_tasks.releases.remote.line import Line
    from infra_tasks.releases.remote.ssh_files import SshFiles
    from infra_tasks.releases.remote.talk import Message

LOOK_S = 30.0


@dataclass(frozen=True)
class Progress:
    """How far a transfer is: files and bytes sent, of all that go."""

    files: int
    files_all: int
    size_bytes: int
    size_bytes_all: int


@dataclass(frozen=True)
class Pushed:
    """`brought` is there when the release was built by this call, `damaged` when something runs in it and spoilt it."""

    held: bool
    brought: Brought | None = None
    damaged: tuple[str, ...] = ()


def push(
    line: Line,
    files: SshFiles,
    shelf: Shelf,
    digest: str,
    manifest: Callable[[], Manifest],
    tree: Path,
    *,
    patience_s: float | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> Pushed:
    """Make sure that the node at the other end holds a release; files it lacks come from `tree`.

    Raises SourceChanging when `tree` is not (any more) what the manifest says, ReleaseBusy when somebody there builds
    it for longer than `patience_s`, and the other kinds of ReleaseError.
    """
    looked = line.ask("look", within_s=LOOK_S, project=shelf.project, digest=digest)
    if looked["held"]:
        return Pushed(held=True)
    whole = manifest()
    sending = _Sending(line, files, whole, tree, progress)
    asked = partial(
        line.ask, "ensure", bring=sending.bring, project=shelf.project, digest=digest, patience_s=patience_s
    )
    try:
        try:
            done = asked(manifest=parcel.pack(shelf, whole, looked["bases"]))
        except BaseLost:  # pruned there since it looked
            done = asked(manifest=parcel.pack(shelf, whole, []))
    except NotAsSent as error:
        raise SourceChanging(f"{error}; it was edited while it was sent") from error
    brought = done["brought"]
    return Pushed(held=False, brought=Brought(**brought) if brought else None, damaged=tuple(done["damaged"]))


class _Sending:
    """Answers what the far end asks to be brought."""

    def __init__(
        self,
        line: Line,
        files: SshFiles,
        manifest: Manifest,
        tree: Path,
        progress: Callable[[Progress], None] | None,
    ) -> None:
        self._line = line
        self._files = files
        self._manifest = manifest
        self._tree = tree
        self._progress = progress

    def bring(self, wanted: Message) -> None:
        """Send what is asked for, as it is in our tree now."""
        if not self._tree.is_dir():
            raise SourceUnreadable(f"the source {self._tree} is not there any more")
        asked = set(wanted["paths"])
        sizes = {entry.path: entry.size for entry in self._manifest.entries if entry.path in asked}
        carry = Carry(self._line.peer, self._tree, wanted["tree"], list(sizes), sum(sizes.values()))
        told = Tally(sizes, self._progress) if self._progress else None
        try:
            rsync.run(rsync.push_line(carry, self._files.client_config(), told=bool(told)), carry, told)
        except ReleaseError as error:
            if self._tree.is_dir():
                raise
            raise SourceUnreadable(f"the source {self._tree} went away while it was sent") from error


class Tally:
    """Counts paths as they arrive and tells how far it is."""

    def __init__(self, sizes: dict[str, int], progress: Callable[[Progress], None]) -> None:
        self._sizes = sizes
        self._all = sum(sizes.values())
        self._progress = progress
        self._files = self._bytes = 0
        progress(Progress(0, len(sizes), 0, self._all))

    def __call__(self, path: str) -> None:
        """Count one path that was sent."""
        self._files += 1
        self._bytes += self._sizes.get(path, 0)
        self._progress(Progress(self._files, len(self._sizes), self._bytes, self._all))
