"""What a node lacks of a release, as far as can be told from here: nothing is built or sent."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from infra_tasks.releases.ensure import is_held
from infra_tasks.releases.remote import parcel
from infra_tasks.releases.snapshot import recall

if TYPE_CHECKING:
    from collections.abc import Sequence

    from infra_tasks.model.manifest import Entry, Manifest
    from infra_tasks.releases.layout import Shelf
    from infra_tasks.releases.remote.line import Line

LOOK_S = 30.0


class Foreseen(NamedTuple):
    """`lacking`: files whose content the node does not have; none when it holds the release.

    `at_most`: the node has releases that are not known here, so it may lack less.
    """

    held: bool
    lacking: list[Entry]
    at_most: bool


def foresee(line: Line, shelf: Shelf, manifest: Manifest) -> Foreseen:
    """Ask another node what it holds of a project. Raises NodeUnreachable."""
    looked = line.ask("look", within_s=LOOK_S, project=shelf.project, digest=manifest.digest)
    return _foreseen(shelf, manifest, looked["held"], looked["bases"])


def foresee_here(shelf: Shelf, manifest: Manifest) -> Foreseen:
    """Look what this node holds."""
    return _foreseen(shelf, manifest, is_held(shelf, manifest.digest), parcel.bases(shelf))


def _foreseen(shelf: Shelf, manifest: Manifest, held: bool, bases: Sequence[str]) -> Foreseen:  # noqa: FBT001  as told
    if held:
        return Foreseen(held=True, lacking=[], at_most=False)
    known = [recall(shelf, digest) for digest in bases]
    there = {entry.sha256 for base in known if base is not None for entry in base.files()}
    lacking = [entry for entry in manifest.files() if entry.sha256 not in there]
    return Foreseen(held=False, lacking=lacking, at_most=None in known)
