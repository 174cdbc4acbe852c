"""Start a command: found on its own PATH, with clean signals, its own session, and no fds but 0, 1 and 2."""

from __future__ import annotations

import errno
import os
import signal
from typing import Any

CLEAN = tuple(signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP})
"""Python ignores SIGPIPE and SIGXFSZ, the shim ignores more, and ignored signals survive exec: all go to default."""


def start(argv: list[str], env: dict[str, str], cwd: str, out: int, err: int) -> int:
    """Start `argv` in `cwd`; stdin is /dev/null, `out` and `err` become 1 and 2. Return its pid; OSError says why not.

    Changes the caller's working directory for the moment of the start (posix_spawn(3) knows none).
    """
    os.chdir(cwd)
    try:
        actions: list[Any] = [
            (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
            (os.POSIX_SPAWN_DUP2, out, 1),
            (os.POSIX_SPAWN_DUP2, err, 2),
        ]
        path = find(argv[0], env.get("PATH", os.defpath))
        return os.posix_spawn(path, argv, env, file_actions=actions, setsid=True, setsigmask=(), setsigdef=CLEAN)
    finally:
        os.chdir("/")


def find(name: str, search: str) -> str:
    """Return the path of a program as execvp(3) would find it; OSError when there is none that can be executed."""
    if "/" in name:
        return name
    refused = errno.ENOENT
    for folder in search.split(os.pathsep):
        path = f"{folder or '.'}/{name}"
        if os.path.isfile(path):  # noqa: PTH113  no pathlib in a shim
            if os.access(path, os.X_OK):
                return path
            refused = errno.EACCES
    raise OSError(refused, os.strerror(refused), name)


def why_not(argv: list[str], cwd: str, error: Exception) -> str:
    """Say why a command could not be started, and what to look at."""
    if not isinstance(error, OSError):
        return f"cannot start {argv!r} in {cwd}: {error!r}"
    if error.filename == cwd:
        return f"cannot enter the working directory {cwd}: {error.strerror}"
    said = f"cannot start {argv[0]!r}: {error.strerror}"
    if error.errno == errno.ENOEXEC:
        return f"{said} (a script needs a first line like #!/bin/sh)"
    if error.errno == errno.ENOENT and "/" in argv[0] and os.path.exists(os.path.join(cwd, argv[0])):  # noqa: PTH110, PTH118
        return f"{said} (the file is there: the program its first line names is not)"
    if error.errno == errno.ENOENT and "/" not in argv[0]:
        return f"{said} (not on the PATH of the command)"
    return said
