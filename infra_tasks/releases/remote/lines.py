"""The kept lines of a process: taken by peer and given back; asked whether they still answer before they are used."""

from __future__ import annotations

import os
import time
from collections import defaultdict
from contextlib import contextmanager
from functools import cache
from threading import Lock
from typing import TYPE_CHECKING

from infra_tasks.errors import NodeUnreachable
from infra_tasks.releases.remote.ssh_files import SshFiles

if TYPE_CHECKING:
    from collections.abc import Iterator

    from infra_tasks.releases.remote.line import Line
    from infra_tasks.releases.remote.peer import Peer
    from infra_tasks.settings import Home

# A line nobody used for so long is closed; one that rested longer than a moment is asked whether it still answers.
KEPT_S = 300.0
RESTED_S = 0.1
# A node that could not be reached is not tried again sooner: a hundred runs for it would each wait for the deadline.
AWAY_S = 4.0


class Lines:
    """The kept lines of a process. Thread-safe."""

    def __init__(self, home: Home) -> None:
        self.files = SshFiles(home)
        self._idle: dict[Peer, list[Line]] = defaultdict(list)
        self._lock = Lock()
        self._away: dict[Peer, tuple[float, str]] = {}

    @contextmanager
    def to(self, peer: Peer) -> Iterator[Line]:
        """Give a line to a node, a kept one if there is one. Raises HostKeyRefused, NodeUnreachable."""
        line = self._kept(peer) or self._opened(peer)
        try:
            yield line
        finally:
            self._give_back(line)

    def _kept(self, peer: Peer) -> Line | None:
        while True:
            with self._lock:
                line = self._idle[peer].pop() if self._idle[peer] else None
            if line is None:
                return None
            rested_s = time.monotonic() - line.rested_at
            still = line.is_open() and line.accepted == self.files.accepted_mark()
            if still and rested_s < KEPT_S and (rested_s < RESTED_S or line.answers()):
                return line
            line.close()

    def _opened(self, peer: Peer) -> Line:
        since, why = self._away.get(peer, (0.0, ""))
        if why and time.monotonic() - since < AWAY_S:
            raise NodeUnreachable(why)
        try:
            line = _new(self.files, peer)
        except NodeUnreachable as found:
            self._away[peer] = (time.monotonic(), str(found))
            raise
        self._away.pop(peer, None)
        return line

    def _give_back(self, line: Line) -> None:
        line.rested_at = time.monotonic()
        if line.usable:
            with self._lock:
                self._idle[line.peer].append(line)

    def close(self) -> None:
        """End all that rest."""
        with self._lock:
            lines = [line for resting in self._idle.values() for line in resting]
            self._idle.clear()
        for line in lines:
            line.close()


def _new(files: SshFiles, peer: Peer) -> Line:
    from infra_tasks.releases.remote.line import Line  # noqa: PLC0415  Fabric is large, and most processes call nobody

    return Line(files, peer)


@cache
def _lines_of(home: Home, _pid: int) -> Lines:
    return Lines(home)


def lines_of(home: Home) -> Lines:
    """Return the lines of this process: a connection must not be shared with a forked child."""
    return _lines_of(home, os.getpid())
