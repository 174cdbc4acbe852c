"""Whether somebody listens on a loopback port."""

from __future__ import annotations

import socket

LOOPBACK = "127.0.0.1"
ANSWER_S = 1.0


def is_listening(port: int) -> bool:
    """Say whether a connection is taken right now."""
    try:
        socket.create_connection((LOOPBACK, port), ANSWER_S).close()
    except OSError:
        return False
    return True
