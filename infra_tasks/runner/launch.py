"""Start shims from a long-lived process: one zygote per process, started when first needed, again when it died."""

from __future__ import annotations

import array
import contextlib
import os
import select
import signal
import socket
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from infra_tasks.errors import LaunchFailed
from infra_tasks.runner.command import CLEAN
from infra_tasks.runner.handing import Offer
from infra_tasks.runner.processes import COOKIE_VARIABLE

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import TracebackType
    from typing import Self

    from infra_tasks.runner.attempt import Attempt

ANSWER_WITHIN_S = 10.0
"""A zygote that does not fork within this time is killed and replaced."""
TRIES = 2
OFFERED = b"\0"
"""Behind the folder: the last fd is the pipe with its secrets."""
ZYGOTE = Path(__file__).with_name("zygote.py")


class Shim:
    """A shim that was started. `pid` is None when it lives but its zygote died before the pid was heard."""

    def __init__(self, pid: int | None, status_fd: int) -> None:
        self.pid = pid
        self._fd = status_fd

    def __repr__(self) -> str:
        return f"Shim(pid={self.pid})"

    def fileno(self) -> int:
        """Return an fd that becomes readable (end of file) when the shim has ended and its lock is free."""
        return self._fd

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait until the shim has ended; False after `timeout_s` seconds without that."""
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        while _readable(self._fd, deadline):
            if not os.read(self._fd, 4096):
                return True
        return False

    def close(self) -> None:
        """Give the fd back. The shim does not notice."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __del__(self) -> None:
        self.close()


class Zygote:
    """Where shims come from. Safe to make before a fork: every process gets a zygote of its own. Not for threads."""

    def __init__(self, answer_within_s: float = ANSWER_WITHIN_S) -> None:
        self.pid = 0
        self._owner = 0
        self._socket: socket.socket | None = None
        self._answer_within_s = answer_within_s

    def warm(self) -> None:
        """Start the zygote now (some 50 ms), so that the first launch does not pay for it."""
        self._living_socket()

    def launch(
        self,
        attempt: Attempt,
        lock_fd: int,
        hold_fds: Sequence[int] = (),
        secrets: Mapping[str, str] | None = None,
    ) -> Shim:
        """Start the shim of an attempt whose record is written and whose lock is `lock_fd`.

        The shim holds `lock_fd` and `hold_fds` until it ends; the caller closes its own copies. Never starts two shims.
        `secrets`: variables and values that only the command may see. Raises LaunchFailed: no shim lives, asking again
        is safe.
        """
        said = ""
        for _ in range(TRIES):
            with Offer(secrets) as offer:
                shim, said = self._launch_once(attempt, [lock_fd, *hold_fds], offer)
            if shim is not None:
                return shim
        raise LaunchFailed(f"no shim for {attempt.path}: {said}; nothing was started")

    def _launch_once(self, attempt: Attempt, fds: list[int], offer: Offer) -> tuple[Shim | None, str]:
        """Return the shim, or why there is none."""
        said = ""
        read_end, write_end = os.pipe()
        try:
            self._ask(attempt, [write_end, *fds], offer.fds)
        except OSError as error:
            said = f"its zygote does not listen: {error}"
        finally:
            os.close(write_end)
        shim, heard = self._hear(read_end)
        if shim is not None:
            offer.finish()
        return shim, heard or said

    def close(self) -> None:
        """End the zygote. Shims go on."""
        owned = self._owner == os.getpid()
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        if self.pid and owned:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
            with contextlib.suppress(ChildProcessError):
                os.waitpid(self.pid, 0)
        self.pid = 0

    def _ask(self, attempt: Attempt, fds: list[int], offered: list[int]) -> None:
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [*fds, *offered]).tobytes())]
        self._living_socket().sendmsg([os.fsencode(attempt.path) + OFFERED * len(offered)], rights)

    def _hear(self, read_end: int) -> tuple[Shim | None, str]:
        """Return the shim, or why there is none: end of file on the status pipe proves that nobody holds it.

        A zygote that does not answer in time is killed first; whether it had forked by then, the pipe tells.
        """
        line = _line(read_end, self._answer_within_s)
        if not line:
            self.close()
            line = _line(read_end, self._answer_within_s)
        if line is None:
            return Shim(None, read_end), ""
        if line.isdigit():
            return Shim(int(line), read_end), ""
        os.close(read_end)
        return None, line.decode(errors="replace") or "its zygote died"

    def _living_socket(self) -> socket.socket:
        if self._owner != os.getpid() or self._socket is None:
            self.close()
            self._socket = self._start()
            self._owner = os.getpid()
        return self._socket

    def _start(self) -> socket.socket:
        """Start a zygote: no environment (it may hold secrets, and a shim shows it), no fds, no session of ours."""
        ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        ours.settimeout(self._answer_within_s)
        null = os.devnull
        env = {COOKIE_VARIABLE: os.environ[COOKIE_VARIABLE]} if COOKIE_VARIABLE in os.environ else {}
        with its:
            self.pid = os.posix_spawn(
                sys.executable,
                [sys.executable, "-I", "-S", str(ZYGOTE)],
                env,
                file_actions=[
                    (os.POSIX_SPAWN_DUP2, its.fileno(), 0),
                    (os.POSIX_SPAWN_OPEN, 1, null, os.O_WRONLY, 0),
                    (os.POSIX_SPAWN_OPEN, 2, null, os.O_WRONLY, 0),
                ],
                setsid=True,
                setsigmask=(),
                setsigdef=CLEAN,
            )
        return ours


def _line(fd: int, within_s: float) -> bytes | None:
    """Return the line on a status pipe, nothing at its end, None when neither came in time."""
    if not _readable(fd, time.monotonic() + within_s):
        return None
    return os.read(fd, 4096).strip()


def _readable(fd: int, deadline: float | None) -> bool:
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    while True:
        left_s = None if deadline is None else max(0.0, deadline - time.monotonic())
        if poll.poll(None if left_s is None else int(left_s * 1000) + 1):
            return True
        if left_s == 0:
            return False
