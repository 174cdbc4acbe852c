"""The little of a fleet that a quick look needs: names, places, where Redis is. Made without the slow models.

Only of a nodes.json that the models found right before (see `infra_tasks.ledger.glance`), or of a Fleet.
"""

from __future__ import annotations

from os.path import normpath
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

LOCAL = "local"
EMBEDDED = "embedded"


class PlacedNode(Protocol):
    """A node as far as its place goes."""

    @property
    def is_local(self) -> bool:
        """Whether it is on this machine."""

    @property
    def root(self) -> str:
        """Its folder, as it is written."""


class SketchedNode(NamedTuple):
    """One machine, or one of several nodes on it."""

    ssh: str
    root: str

    @property
    def is_local(self) -> bool:
        """Whether it is on this machine."""
        return self.ssh == LOCAL


class Sketch(NamedTuple):
    """What a fleet is called and consists of. `broker` may hold a password."""

    name: str
    broker: str
    nodes: Mapping[str, SketchedNode]
    projects: tuple[str, ...]
    labels: tuple[str, ...]


def sketched(raw: Mapping[str, Any]) -> Sketch:
    """Return the sketch of what nodes.json says; it must be right."""
    nodes = raw["nodes"]
    return Sketch(
        raw["fleet"],
        raw.get("broker", EMBEDDED),
        {name: SketchedNode(node["ssh"], node["root"]) for name, node in nodes.items()},
        tuple(raw.get("projects", ())),
        tuple(sorted({label for node in nodes.values() for label in node.get("labels", ())})),
    )


def local_node(nodes: Mapping[str, PlacedNode], home_root: Path, expand: Callable[[str], Path]) -> str | None:
    """Return the name of the node that lives in `home_root` on this machine, or None.

    `expand` turns a root as written into a path (`~` replaced; links resolved, if they are in `home_root`).
    """
    wanted = normpath(home_root)
    local = (name for name, node in nodes.items() if node.is_local and normpath(expand(node.root)) == wanted)
    return next(local, None)
