"""Who sits here: told with what a person asks of the fleet."""

from __future__ import annotations

import getpass
import socket


def who() -> str:
    """Return user@machine."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a user without a name, as in some containers
        user = "somebody"
    return f"{user}@{socket.gethostname()}"
