"""Who is at the other end of a connection on loopback, where the system tells: Linux does, macOS does not.

Anybody on a machine may see the arguments of others' processes, and with them the address a browser was opened with,
key included. So the key opens for its owner (and root) only.
"""

from __future__ import annotations

from pathlib import Path

CONNECTIONS = Path("/proc/net/tcp")
ADDRESS_AT, UID_AT = 1, 7  # columns of a line


def uid_in(table: str, address: str, port: int) -> int | None:
    """Return whose socket has this end, as a table of /proc/net/tcp tells, None when it does not. Pure."""
    octets = [int(part) for part in address.split(".")]
    wanted = f"{bytes(reversed(octets)).hex()}:{port:04x}".upper()
    for line in table.splitlines():
        columns = line.split()
        if len(columns) > UID_AT and columns[ADDRESS_AT] == wanted:
            return int(columns[UID_AT])
    return None


def is_stranger(address: str, port: int, me: int) -> bool:
    """Say whether this end is known to belong to another user than `me` and root."""
    try:
        return uid_in(CONNECTIONS.read_text(), address, port) not in {None, 0, me}
    except (OSError, ValueError):
        return False
