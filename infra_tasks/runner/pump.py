"""Bring what a command writes from its two pipes into segment files, and wake up for what else the shim waits for."""

from __future__ import annotations

import os
import select
import time
from typing import TYPE_CHECKING

from infra_tasks.runner.output import Segments

if TYPE_CHECKING:
    from infra_tasks.model.redactor import MaskedStream, Redactor

STREAMS = ("stdout", "stderr")
READ_BYTES = 65536
DRAIN_S = 2.0
"""A stranger may hold the pipe and go on writing: what the command itself left in it is read by then."""


class Pump:
    """The pipes of one command."""

    def __init__(self, folder: str, cap_bytes: int, wake_fd: int, redactor: Redactor | None = None) -> None:
        self._poll = select.poll()
        self._poll.register(wake_fd, select.POLLIN)
        self._wake_fd = wake_fd
        self._segments: dict[int, Segments] = {}
        self._masked: dict[int, MaskedStream] = {}
        self._ends: list[int] = []
        for stream in STREAMS:
            read_end, write_end = os.pipe()
            os.set_blocking(read_end, False)
            self._segments[read_end] = Segments(folder, stream, cap_bytes)
            if redactor:
                self._masked[read_end] = redactor.stream()
            self._ends.append(write_end)
            self._poll.register(read_end, select.POLLIN)
        self._open = set(self._segments)

    @property
    def ends(self) -> tuple[int, int]:
        """What becomes 1 and 2 of the command."""
        return self._ends[0], self._ends[1]

    @property
    def dropped_bytes(self) -> int:
        """What the disk refused, both streams."""
        return sum(segments.dropped_bytes for segments in self._segments.values())

    @property
    def refusal(self) -> str:
        """Why the disk refused it."""
        return next((segments.refusal for segments in self._segments.values() if segments.refusal), "")

    def started(self) -> None:
        """Close our copies of the command's ends."""
        for end in self._ends:
            os.close(end)

    def turn(self, patience_s: float) -> None:
        """Wait until something happened, `patience_s` at most, and bring one piece of each stream on."""
        ready = [fd for fd, _ in self._poll.poll(int(patience_s * 1000) + 1)]
        for fd in ready:
            if fd == self._wake_fd:
                os.read(fd, READ_BYTES)
            else:
                self._bring(fd)
        for fd, masked in self._masked.items():
            if fd not in ready:
                self._segments[fd].write(masked.idle())

    def drain(self) -> None:
        """Bring what is in the pipes right now. Never waits for their end: a stranger may hold it open for days."""
        deadline = time.monotonic() + DRAIN_S
        for fd in sorted(self._open):
            while self._bring(fd) and time.monotonic() < deadline:
                pass
        for fd, segments in self._segments.items():
            if fd in self._masked:
                segments.write(self._masked[fd].end())
            segments.close()

    def _bring(self, fd: int) -> bool:
        """Bring one piece; False when there is none now."""
        try:
            data = os.read(fd, READ_BYTES)
        except BlockingIOError:
            return False
        self._segments[fd].write(self._masked[fd].feed(data) if fd in self._masked else data)
        if not data:
            self._poll.unregister(fd)
            self._open.discard(fd)
        return bool(data)
