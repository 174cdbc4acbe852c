"""Values a node asks for once and keeps: loopback ports in `ports.json`, passwords in `secrets/`."""

from __future__ import annotations

import contextlib
import fcntl
import os
import random
import socket
from typing import TYPE_CHECKING

from workers.json_file import read_json, write_json

if TYPE_CHECKING:
    from collections.abc import Iterator

    from infra_tasks.settings import Home

# Below what Linux (32768 up) and macOS (49152 up) give to outgoing connections: a port from up there may be somebody's
# connection at the moment our server wants to come back on it.
PORTS = range(20000, 30000)
LOOPBACK = "127.0.0.1"


def is_free(port: int) -> bool:
    """Whether a server could listen on this loopback port now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True


def kept_port(home: Home, name: str) -> int | None:
    """Return the port that was chosen for `name`, None when there is none yet."""
    port = read_json(home.ports_json).get(name)
    return port if isinstance(port, int) else None


def port_of(home: Home, name: str) -> int:
    """Return the port of `name`, choosing one at the first call."""
    with _alone(home):
        return kept_port(home, name) or _choose(home, name)


def new_port(home: Home, name: str) -> int:
    """Choose another port for `name`: its own is taken by a stranger."""
    with _alone(home):
        return _choose(home, name)


def keep_port(home: Home, name: str, port: int) -> None:
    """Note the port that was asked for: who looks for `name` looks there."""
    with _alone(home):
        taken = read_json(home.ports_json)
        if taken.get(name) != port:
            write_json(home.ports_json, {**taken, name: port})


def _choose(home: Home, name: str) -> int:
    taken = read_json(home.ports_json)
    for _ in range(1000):
        port = random.choice(PORTS)  # noqa: S311  not a secret
        if port not in taken.values() and is_free(port):
            write_json(home.ports_json, {**taken, name: port})
            return port
    raise OSError(f"no free port on {LOOPBACK} in {PORTS.start}..{PORTS.stop - 1} for {name}")


@contextlib.contextmanager
def _alone(home: Home) -> Iterator[None]:
    """Two roles that choose at once must not take one port, nor lose each other's."""
    fd = os.open(home.root / ".ports.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


def password_of(home: Home, name: str) -> str:
    """Return the password of `name`, made at the first call; the file is 0600 and never half written."""
    from secrets import token_urlsafe  # noqa: PLC0415  brings OpenSSL along: 3 MB the watcher can do without

    path = home.secrets / f"{name}.password"
    home.secrets.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not path.exists():
        beside = path.with_name(f".{name}.{os.getpid()}")
        fd = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(fd, "w") as file:
            file.write(token_urlsafe(32) + "\n")
        with contextlib.suppress(FileExistsError):
            os.link(beside, path)
        beside.unlink()
    return path.read_text().strip()


def passwords(home: Home) -> list[str]:
    """Return every password this node has made so far."""
    found = []
    for path in home.secrets.glob("[!.]*"):
        with contextlib.suppress(OSError, ValueError):
            found.append(path.read_text().strip())
    return found
