"""Hands the secrets of an attempt to its shim: through a pipe, so that they never stand on a disk or in an argv.

What fits into the pipe is in it before the shim is asked for: whoever starts it may die right after.
"""

from __future__ import annotations

import json
import os
import select
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType
    from typing import Self

READ_BYTES = 65536
WITHIN_S = 10.0
"""Either side waits so long for the other one: it is a process that runs right now, or that is gone."""
END = b"\n"
"""JSON holds none: a text without it was cut off."""


class Offer:
    """The giving side. `fds`: what the shim must get, nothing if there are no secrets."""

    def __init__(self, secrets: Mapping[str, str] | None) -> None:
        self.fds: list[int] = []
        self._write_end = -1
        self._rest = memoryview(json.dumps(dict(secrets)).encode() + END if secrets else b"")
        if secrets:
            read_end, self._write_end = os.pipe()
            self.fds.append(read_end)
            os.set_blocking(self._write_end, False)
            self._push()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._forget_fds()
        if self._write_end >= 0:
            os.close(self._write_end)

    def finish(self) -> None:
        """Bring the rest over; a shim that is gone or does not read gets none, and says so itself."""
        self._forget_fds()
        poll, deadline = select.poll(), time.monotonic() + WITHIN_S
        if self._rest:
            poll.register(self._write_end, select.POLLOUT)
        while self._rest and (left_s := deadline - time.monotonic()) > 0 and poll.poll(int(left_s * 1000) + 1):
            if not self._push():
                return

    def _push(self) -> bool:
        try:
            while self._rest:
                self._rest = self._rest[os.write(self._write_end, self._rest) :]
        except BlockingIOError:
            return True
        except BrokenPipeError:
            return False
        return True

    def _forget_fds(self) -> None:
        for fd in self.fds:
            os.close(fd)
        self.fds = []


def take(fd: int) -> dict[str, str] | None:
    """Return what was handed over through `fd`, and close it; None when it is not whole in time."""
    poll, deadline = select.poll(), time.monotonic() + WITHIN_S
    poll.register(fd, select.POLLIN)
    data = bytearray()
    try:
        while (left_s := deadline - time.monotonic()) > 0 and poll.poll(int(left_s * 1000) + 1):
            piece = os.read(fd, READ_BYTES)
            data += piece
            if not piece or data.endswith(END):
                break
    finally:
        os.close(fd)
    return dict(json.loads(data)) if data.endswith(END) else None
