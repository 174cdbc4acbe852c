"""The small process above a setup command: ends it with its process group at its limit, whoever else dies meanwhile.

    python -I -S setup_guard.py LIMIT_S GRACE_S COMMAND...

It inherits the open work lock of the release and does not hand it on, so the lock says how long the setup goes on, also
when the worker that wanted it was killed. It ends with the command's exit code (128 + signal), 124 at the limit.
SIGTERM is the limit come early.
It is no shim: a setup has no run, no record and no orders, and a room knows no other room of its floor.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress

LIMIT_EXIT = 124
CANNOT_START_EXIT = 127


class Stopped(Exception):
    """Nobody wants the setup any more."""


def _stop(*_: object) -> None:
    raise Stopped


def main(argv: list[str]) -> int:
    """Run the command and return the exit code."""
    limit_s, grace_s, command = float(argv[0]), float(argv[1]), argv[2:]
    signal.signal(signal.SIGTERM, _stop)
    try:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)
    except OSError as error:
        sys.stderr.write(f"cannot start {command[0]!r}: {error.strerror}\n")
        return CANNOT_START_EXIT
    try:
        code = process.wait(limit_s)
    except (subprocess.TimeoutExpired, Stopped) as why:
        late = f"the setup did not end within {limit_s:g} s and was killed\n"
        sys.stderr.write("the setup was stopped\n" if isinstance(why, Stopped) else late)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        code = None
        _signal(process.pid, signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            process.wait(grace_s)
    # Also after a good end: nothing of a setup may go on writing into the release.
    _signal(process.pid, signal.SIGKILL)
    process.wait()
    _end_group(process.pid)
    if code is None:
        return LIMIT_EXIT
    return code if code >= 0 else 128 - code


def _end_group(group: int) -> None:
    # What is dead stays in the group until its parent, often a slow init, has reaped it.
    deadline = time.monotonic() + 1
    while _signal(group, signal.SIGKILL) and time.monotonic() < deadline:
        time.sleep(0.01)


def _signal(group: int, number: int) -> bool:
    """Return False when nobody of the group is left."""
    try:
        os.killpg(group, number)
    except (ProcessLookupError, PermissionError):
        return False
    return True


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
