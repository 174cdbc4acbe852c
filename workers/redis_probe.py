"""Asks a Redis whether it answers, without ever waiting for it.

A watcher must not hang on what it watches: the question is sent in one turn and the answer read in a later one.
"""

from __future__ import annotations

import contextlib
import socket
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

ASK_EVERY_S = 0.5
KNOCK_EVERY_S = 0.05  # while it does not answer
GIVE_UP_S = 5.0  # then a new connection is tried
STRANGER = (b"-NOAUTH", b"-WRONGPASS", b"-ERR")  # not the Redis with our password


class RedisProbe:
    """One connection to one Redis; `answers` counts what came back and `serves` says whether it was PONG."""

    def __init__(self, where: Callable[[], tuple[int, str]]) -> None:
        self._where = where  # port and password, read again for every connection
        self._socket: socket.socket | None = None
        self._asked_at: float | None = None
        self._next_at = 0.0
        self._heard = b""
        self.answers = 0
        self.serves = False

    def look(self, now: float) -> None:
        """Send, read or do nothing; called in every turn."""
        try:
            if self._asked_at is not None:
                self._read(now)
            elif now >= self._next_at:
                self._ask(now)
        except (OSError, ValueError, KeyError):
            self.forget(now)

    def forget(self, now: float) -> None:
        """Drop the connection."""
        if self._socket is not None:
            self._socket.close()
        self._socket, self._asked_at, self._heard, self.serves = None, None, b"", False
        self._next_at = now + KNOCK_EVERY_S

    def _ask(self, now: float) -> None:
        if self._socket is None:
            self._connect()
        else:
            self._socket.sendall(b"PING\r\n")
        self._asked_at = now

    def _connect(self) -> None:
        port, password = self._where()
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=0.2)
        self._socket.sendall(f"AUTH {password}\r\nPING\r\n".encode())
        self._socket.setblocking(False)

    def _read(self, now: float) -> None:
        assert self._socket is not None
        with contextlib.suppress(BlockingIOError):
            heard = self._socket.recv(4096)
            if not heard:
                raise ConnectionResetError
            self._heard += heard
        if self._is_answered():
            self._take_answer(now)
        elif self._asked_at is not None and now - self._asked_at > GIVE_UP_S:
            raise TimeoutError

    def _is_answered(self) -> bool:
        """`+OK` is the answer to AUTH; the one to PING follows it."""
        lines = self._heard.split(b"\r\n")[:-1]
        return bool(lines) and lines != [b"+OK"]

    def _take_answer(self, now: float) -> None:
        line = self._heard.rstrip(b"\r\n").rsplit(b"\r\n", 1)[-1]
        if line.startswith(STRANGER):
            raise ConnectionRefusedError
        self.answers += 1
        self.serves = line == b"+PONG"
        self._heard, self._asked_at, self._next_at = b"", None, now + ASK_EVERY_S
