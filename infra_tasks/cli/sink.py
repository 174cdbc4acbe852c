"""Where output of a run goes: the user's stdout and stderr, byte for byte."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

from infra_tasks.cli.printing import size
from infra_tasks.cli.streams import STDOUT
from infra_tasks.cli.terminal import note
from infra_tasks.follow import Gap

if TYPE_CHECKING:
    from collections.abc import Mapping

    from infra_tasks.follow import Piece

FDS = {"stdout": 1, "stderr": 2}


class Sink:
    """Writes pieces as they come. `fds`: other places than the usual for a stream. `silent`: nowhere at all.

    Raises BrokenPipeError when nobody reads stdout any more, OSError with the stream's name when its disk is full. A
    terminal that is gone, or a stderr that nobody reads, swallows the rest in silence.
    """

    def __init__(self, fds: Mapping[str, int] | None = None, *, silent: bool = False) -> None:
        self._fds = {**FDS, **(fds or {})}
        self._gone: set[int] = set(self._fds.values()) if silent else set()

    def write(self, found: Piece | Gap) -> None:
        """Write a piece, or say what is missing."""
        if isinstance(found, Gap):
            note(gap_words(found))
        else:
            self.put(found.stream, found.data)

    def fd(self, stream: str) -> int:
        """Return where a stream goes."""
        return self._fds[stream]

    def put(self, stream: str, data: bytes) -> None:
        """Write bytes where a stream goes."""
        self._write(self._fds[stream], data)

    def _write(self, fd: int, data: bytes) -> None:
        rest = memoryview(data)
        while rest and fd not in self._gone:
            try:
                rest = rest[os.write(fd, rest) :]
            except OSError as error:
                if error.errno not in {errno.EPIPE, errno.EIO} or (fd == 1 and error.errno == errno.EPIPE):
                    error.filename = STDOUT if fd == 1 else "stderr"
                    raise
                self._gone.add(fd)


def gap_words(gap: Gap) -> str:
    """Return what is missing, and why."""
    if gap.end is None:
        return (
            f"{gap.stream} of attempt {gap.attempt} cannot be had from byte {gap.offset} on: its node does not send it "
            "(silent, or the output is deleted there)"
        )
    return f"{size(gap.end - gap.offset)} of {gap.stream} were dropped here: the output is larger than is kept"
