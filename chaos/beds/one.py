"""One whole node with its own Redis: the real watcher and all its roles."""

from __future__ import annotations

import signal
from contextlib import contextmanager
from typing import TYPE_CHECKING

from whole_node import WholeNode

from chaos.beds import ours
from chaos.beds.door import LEASE
from chaos.beds.fleet import Fleet
from chaos.nemeses.kills import send

if TYPE_CHECKING:
    from collections.abc import Iterator
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

    def redis_files(self) -> Path:
        return self.node.home / "redis"

    @contextmanager
    def redis_stays_down(self) -> Iterator[None]:
        """The watcher stands still meanwhile; where none lives, nobody could start a Redis."""
        watcher = self.pids("watcher", NAME)
        send(watcher, signal.SIGSTOP)
        try:
            yield
        finally:
            send(watcher, signal.SIGCONT)

    def logs(self) -> str:
        return self.node.logs()
