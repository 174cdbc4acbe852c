"""One whole node with its own Redis: the real watcher and all its roles."""

from __future__ import annotations

from typing import TYPE_CHECKING

from whole_node import WholeNode

from chaos.beds import ours
from chaos.beds.door import LEASE
from chaos.beds.fleet import Fleet

if TYPE_CHECKING:
    from pathlib import Path

NAME = "n1"


class OneNode(Fleet):
    """A bed (see `chaos.beds.bed`)."""

    nodes = (NAME,)

    def __init__(self, folder: Path, *, slots: int = 4, code: Path | None = None) -> None:
        self.folder = folder
        self.slots = slots
        self.sources = ours.make_sources(folder)
        self.node = WholeNode(folder / NAME, slots=slots, limits=LEASE, projects=dict(self.sources), code=code)
        self.members = {NAME: self.node}

    def up(self) -> None:
        self.node.up()

    def close(self) -> None:
        self.node.close()
        ours.unmount(self.node.home / "runs")

    def logs(self) -> str:
        return self.node.logs()
