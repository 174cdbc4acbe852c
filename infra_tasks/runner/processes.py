"""One look at the machine's processes: who they are, whose children, whether they carry an attempt's cookie or mark.

Linux answers from /proc, macOS from `ps`. macOS shows no environment of its own protected programs (/bin/sleep and the
like, System Integrity Protection): those are found there by descent and session only.
"""

from __future__ import annotations

import os
import sys
from typing import NamedTuple

from infra_tasks.runner.clock import process_started

COOKIE_VARIABLE = "INFRA_COOKIE"

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


class Process(NamedTuple):
    """What one look says of a process. `started` is an identity (clock.process_started); zombies are dead already."""

    pid: int
    ppid: int
    pgid: int
    sid: int
    zombie: bool
    rss_bytes: int
    started: float | None
    environment: str = ""


Table = dict[int, Process]


def parse_stat(text: bytes) -> Process:
    """Read one /proc/PID/stat (proc_pid_stat(5)). The name in brackets may itself hold brackets, blanks and newlines.

    A process whose first thread ended shows as zombie while its other threads live: it is none.
    """
    close = text.rindex(b")")
    rest = text[close + 2 :].split()
    return Process(
        pid=int(text[: text.index(b" ")]),
        ppid=int(rest[1]),
        pgid=int(rest[2]),
        sid=int(rest[3]),
        zombie=rest[0] in b"ZXx" and int(rest[17]) <= 1,
        rss_bytes=int(rest[21]) * PAGE_BYTES,
        started=int(rest[19]) / _TICKS_PER_S,
    )


def parse_ps(text: str) -> Table:
    """Read `ps -axww -E -o pid=,ppid=,pgid=,stat=,rss=,command=`; the environment stands behind the arguments.

    `ps` of macOS knows no session id, and start times of whole seconds only: both are asked from the kernel later.
    """
    table = {}
    for line in text.splitlines():
        fields = line.split(None, 5)
        if len(fields) < 5 or not all(field.isdigit() for field in (*fields[:3], fields[4])):
            continue
        pid, ppid, pgid, rss = int(fields[0]), int(fields[1]), int(fields[2]), int(fields[4])
        rest = fields[5] if len(fields) > 5 else ""
        table[pid] = Process(pid, ppid, pgid, 0, fields[3].startswith("Z"), rss * 1024, None, rest)
    return table


def carries_cookie(environment: str, cookie: str) -> bool:
    """Say whether the text behind a process in `ps -E` holds our cookie as a whole word."""
    return f"{COOKIE_VARIABLE}={cookie}" in environment.split()


if sys.platform == "darwin":
    import subprocess

    def look() -> Table:
        """Return every process."""
        ps = ["/bin/ps", "-axww", "-E", "-o", "pid=,ppid=,pgid=,stat=,rss=,command="]
        text = subprocess.run(ps, capture_output=True, check=True, stdin=subprocess.DEVNULL).stdout
        table = parse_ps(text.decode("utf-8", errors="replace"))
        return {pid: one._replace(sid=_session(pid)) for pid, one in table.items()}

    def marked(table: Table, cookie: str, mark: int) -> set[int]:  # noqa: ARG001  no rlimit of others is visible here
        """Return the pids that carry the cookie."""
        return {pid for pid, one in table.items() if carries_cookie(one.environment, cookie)}

    def started_of(process: Process) -> float | None:
        """Return the identity of a process of a table."""
        return process_started(process.pid)

    def _session(pid: int) -> int:
        try:
            return os.getsid(pid)
        except OSError:
            return 0

else:

    def look() -> Table:
        """Return every process."""
        table = {}
        for name in os.listdir("/proc"):  # noqa: PTH208  no pathlib in a shim
            stat = read(f"/proc/{name}/stat") if name.isdigit() else b""
            if stat:
                process = parse_stat(stat)
                table[process.pid] = process
        return table

    def marked(table: Table, cookie: str, mark: int) -> set[int]:
        """Return the pids that carry the cookie in their environment or the mark as RLIMIT_LOCKS."""
        return {pid for pid in table if _has_mark(pid, mark) or _has_cookie(pid, cookie)}

    def started_of(process: Process) -> float | None:
        """Return the identity of a process of a table."""
        return process.started

    def _has_cookie(pid: int, cookie: str) -> bool:
        wanted = f"\0{COOKIE_VARIABLE}={cookie}\0".encode()
        return bool(cookie) and wanted in b"\0" + read(f"/proc/{pid}/environ")

    def _has_mark(pid: int, mark: int) -> bool:
        """Look into /proc/PID/limits: it survives exec, setsid and a cleared environment, and anybody may read it."""
        if mark <= 0:
            return False
        for line in read(f"/proc/{pid}/limits").splitlines():
            if line.startswith(b"Max file locks"):
                return str(mark).encode() in line.split()[3:5]
        return False


def descendants(table: Table, roots: set[int]) -> set[int]:
    """Return children, grandchildren and so on of `roots`, without the roots."""
    children: dict[int, list[int]] = {}
    for process in table.values():
        children.setdefault(process.ppid, []).append(process.pid)
    found: set[int] = set()
    open_ends = list(roots)
    while open_ends:
        for child in children.get(open_ends.pop(), ()):
            if child not in found and child not in roots:
                found.add(child)
                open_ends.append(child)
    return found


def children(pid: int) -> list[int]:
    """Return the children of every thread of a process."""
    try:
        threads = os.listdir(f"/proc/{pid}/task")  # noqa: PTH208
    except OSError:
        return []
    return [int(child) for tid in threads for child in read(f"/proc/{pid}/task/{tid}/children").split()]


def read(path: str) -> bytes:
    """Return a whole file of /proc; empty when its process is gone or not ours to read."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return b""
    parts = []
    try:
        while part := os.read(fd, 65536):
            parts.append(part)
    except OSError:
        return b""
    finally:
        os.close(fd)
    return b"".join(parts)
