"""The redis role: the node's own Redis, on loopback only, every write on disk before it is acknowledged.

This process prepares - binary, port, password, configuration - and then becomes the server, keeping pid and lock.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import sys
from typing import TYPE_CHECKING

from infra_tasks.errors import InfraError, RoleFailed
from infra_tasks.settings import home as home_of
from workers.json_file import read_json, write_json
from workers.node_file import LOOPBACK, is_free, new_port, password_of, port_of
from workers.redis_binary import Binary, dotted, find_binary
from workers.role import inherited_lock
from workers.role_files import RoleFiles

if TYPE_CHECKING:
    from pathlib import Path

    from infra_tasks.settings import Home

ANSWER_S = 2.0  # how long whoever holds our port may take to prove that it is our Redis
AOF_REWRITE_MIN_BYTES = 16_000_000


def configuration(home: Home, port: int, password: str) -> str:
    """Return the text of redis.conf."""
    return "\n".join(
        [
            f"bind {LOOPBACK}",
            f"port {port}",
            "protected-mode yes",
            f"requirepass {password}",
            f"dir {_quoted(home.redis)}",
            f"logfile {_quoted(RoleFiles(home, 'redis').log)}",
            "daemonize no",
            "appendonly yes",
            "appendfsync always",
            "aof-load-truncated yes",  # a torn last write was never acknowledged
            f"auto-aof-rewrite-min-size {AOF_REWRITE_MIN_BYTES}",
            'save ""',
            "maxmemory-policy noeviction",
            "tcp-keepalive 60",
            "",
        ]
    )


def _quoted(path: Path) -> str:
    return json.dumps(str(path), ensure_ascii=False)


def prepare(home: Home, binary: Binary) -> Path:
    """Write redis.conf (0600) and return its path. Raises RoleFailed when a server could not start rightly."""
    home.redis.mkdir(mode=0o700, parents=True, exist_ok=True)
    _refuse_older(home, binary)
    password = password_of(home, "redis")
    port = _our_port(home, password)
    path = home.redis / "redis.conf"
    beside = path.with_suffix(".new")
    fd = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(fd, "w") as file:
        file.write(configuration(home, port, password))
    beside.replace(path)
    return path


def _refuse_older(home: Home, binary: Binary) -> None:
    # An older server cannot read what a newer one wrote, and 6.2 would not even look: it would start empty.
    kept = home.redis / "server.json"
    wrote = tuple(read_json(kept).get("version", ()))
    if wrote[:2] > binary.version[:2]:
        raise RoleFailed(
            f"the data in {home.redis} was written by Redis {'.'.join(map(str, wrote))}; {binary.path} is "
            f"{dotted(binary.version)} and would lose it. Install Redis {wrote[0]}.{wrote[1]} or newer again"
        )
    write_json(kept, {"version": list(binary.version), "path": str(binary.path)})


def _our_port(home: Home, password: str) -> int:
    """Return the port to listen on. Clients know the old one, so it is left only when a stranger sits there."""
    port = port_of(home, "redis")
    if is_free(port):
        return port
    if is_ours(port, password):
        raise RoleFailed(
            f"a Redis with this node's password already answers on {LOOPBACK}:{port}, but not as a role of "
            f"{home.root}: stop it, or it and we would write the same data"
        )
    moved = new_port(home, "redis")
    _say(f"{LOOPBACK}:{port} is held by {_who_listens(port)}; the embedded Redis moves to {moved}")
    return moved


def is_ours(port: int, password: str) -> bool:
    """Whether a Redis with this password answers on the port."""
    try:
        with socket.create_connection((LOOPBACK, port), timeout=ANSWER_S) as door:
            door.sendall(f"AUTH {password}\r\n".encode())
            return door.recv(64).startswith((b"+OK", b"-LOADING"))
    except OSError:
        return False


def _who_listens(port: int) -> str:
    """Name the stranger where the system lets us see it."""
    import psutil  # noqa: PLC0415  seldom needed

    with contextlib.suppress(psutil.Error, OSError):
        for connection in psutil.net_connections("tcp"):
            if connection.laddr and connection.laddr[1] == port and connection.pid:
                return f"{psutil.Process(connection.pid).name()} (pid {connection.pid})"
    return "another process"


def _say(words: str) -> None:
    print(words, file=sys.stderr, flush=True)  # noqa: T201  the role's log


def main() -> int:
    """Prepare and become the server; return an exit code only when that failed."""
    home = home_of()
    lock_fd = inherited_lock(RoleFiles(home, "redis"), os.environ)
    try:
        if lock_fd is None:
            raise RoleFailed("the redis role is started by the watcher: `infra up`")
        binary = find_binary()
        config = prepare(home, binary)
    except (InfraError, OSError) as error:
        _say(f"redis cannot start: {error}")
        return error.exit_code if isinstance(error, InfraError) else 1
    os.set_inheritable(lock_fd, True)  # the server keeps it open, and so is seen to live
    os.execv(binary.path, [str(binary.path), str(config)])  # noqa: S606  no shell is wanted
    raise AssertionError("unreachable: exec does not return")


if __name__ == "__main__":
    sys.exit(main())
