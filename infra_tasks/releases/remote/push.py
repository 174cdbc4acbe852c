"""Have a release on another node: it builds the release itself, and what it lacks is sent from here."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from infra_tasks.errors import BaseLost, NotAsSent, SourceChanging
from infra_tasks.releases.layout import Brought
from infra_tasks.releases.packing import PACK_BYTES, WATCHED_PACK_BYTES
from infra_tasks.releases.remote import parcel
from infra_tasks.releases.remote.sending import Sending

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from infra_tasks.model.manifest import Manifest
    from infra_tasks.model.weight import Weight
    from infra_tasks.releases.layout import Shelf
    from infra_tasks.releases.remote.line import Line
    from infra_tasks.releases.remote.ssh_files import SshFiles
    from infra_tasks.releases.remote.tally import Progress

LOOK_S = 30.0


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
    weighed: Callable[[Weight], object] | None = None,
) -> Pushed:
    """Make sure that the node at the other end holds a release; files it lacks come from `tree`.

    `weighed` hears how much goes before it goes.

    Raises SourceChanging when `tree` is not (any more) what the manifest says, ReleaseBusy when somebody there builds
    it for longer than `patience_s`, and the other kinds of ReleaseError.
    """
    looked = line.ask("look", within_s=LOOK_S, project=shelf.project, digest=digest)
    if looked["held"]:
        return Pushed(held=True)
    whole = manifest()
    sending = Sending(line.peer, files, shelf, whole, tree, progress, weighed)
    asked = partial(
        line.ask,
        "ensure",
        bring=sending.bring,
        heard=sending.heard if progress else None,
        project=shelf.project,
        digest=digest,
        patience_s=patience_s,
        pack_bytes=WATCHED_PACK_BYTES if progress else PACK_BYTES,
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
