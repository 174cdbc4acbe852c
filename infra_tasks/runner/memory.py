"""How much memory the processes below a shim hold, and whether that is too much.

Looking is cheap as long as all is well: the resident sizes added up are never below what the processes hold together.
Only where that sum is above the limit Linux is asked for the exact figure (PSS of smaps_rollup, proc_pid_smaps(5): a
page that N processes share counts as 1/N for each), which costs some milliseconds per GiB. Swapped pages do not count.
macOS has no such figure for others: there shared pages count once for each process.
"""

from __future__ import annotations

import math
import os
import sys
import time

from infra_tasks.model.amounts import bytes_in_words
from infra_tasks.runner.processes import PAGE_BYTES, children, descendants, look, read

LOOK_EVERY_S = 1.0 if sys.platform == "darwin" else 0.25
"""macOS answers through `ps`, which is a process each time."""
LOOK_AGAIN_S = 0.05
TIMES_OVER = 2
"""One look is no snapshot: what one process gave back and another took meanwhile counts twice in it."""
SHARE_OF_TIME = 0.05
"""Looking takes at most this share of a core: with thousands of processes it happens less often."""
FIRST_PAUSES_S, PAUSE_S = (0.1, 0.9), 4.0
"""Without a limit: what a tree held is kept for its record only; one process alone is in ru_maxrss anyway."""
_KCMP_NUMBERS = {"x86_64": 312, "aarch64": 272}
_KCMP_VM = 1

if sys.platform == "linux":
    import ctypes

    _syscall = ctypes.CDLL(None).syscall
    _KCMP = _KCMP_NUMBERS.get(os.uname().machine)


def resident_bytes(root: int) -> int:
    """Return the memory of all descendants of `root` together; pages they share count once for each."""
    if not _has_children_files(root):
        table = look()
        return sum(table[pid].rss_bytes for pid in descendants(table, {root}))
    return sum(_statm(pid)[0] for pid in _below(root))


def held_bytes(root: int, enough: float) -> int:
    """Return what all descendants of `root` hold together: the exact figure (Linux) where it may exceed `enough`."""
    most = resident_bytes(root)
    if most <= enough or not _has_children_files(root):
        return most
    return sum(_proportional(pid) for pid, parent in _below(root).items() if not _is_one_image(pid, parent))


def kills_by_kernel() -> int:
    """Return how many processes of this machine the kernel has ended for want of memory; 0 where it does not say."""
    for line in read("/proc/vmstat").splitlines():
        if line.startswith(b"oom_kill "):
            return int(line.split()[1])
    return 0


class Watch:
    """Looks at the memory of the processes below `root`: at what they held at most, and (with a limit) all the time."""

    def __init__(self, root: int, limit_bytes: float, started: float) -> None:
        self.max_bytes = 0
        self._root, self._limit_bytes = root, limit_bytes
        self._pauses_s = [*FIRST_PAUSES_S, PAUSE_S]
        self._times_over = 0
        self.look_at = started + self._pause_s()

    def turn(self, now: float) -> str | None:
        """Look, if it is time; return why the tree must be stopped when two looks in a row found too much."""
        if now < self.look_at:
            return None
        began = time.monotonic()
        held = held_bytes(self._root, self._limit_bytes)
        cost_s = time.monotonic() - began
        self.max_bytes = max(self.max_bytes, held)
        self._times_over = self._times_over + 1 if held > self._limit_bytes else 0
        self.look_at = now + max(self._pause_s(), cost_s / SHARE_OF_TIME)
        if self._times_over < TIMES_OVER:
            return None
        return f"its processes held {bytes_in_words(held)} of memory, allowed are {bytes_in_words(self._limit_bytes)}"

    def _pause_s(self) -> float:
        if self._limit_bytes < math.inf:
            return LOOK_AGAIN_S if self._times_over else LOOK_EVERY_S
        return self._pauses_s.pop(0) if len(self._pauses_s) > 1 else self._pauses_s[0]


def _has_children_files(pid: int) -> bool:
    return os.path.exists(f"/proc/{pid}/task/{pid}/children")  # noqa: PTH110  no pathlib in a shim


def _below(root: int) -> dict[int, int]:
    """Return all descendants, each with its parent (Linux). Who changes parents meanwhile is there once."""
    found: dict[int, int] = {}
    open_ends = [root]
    while open_ends:
        parent = open_ends.pop()
        new = [pid for pid in children(parent) if pid not in found]
        found.update(dict.fromkeys(new, parent))
        open_ends += new
    return found


def _statm(pid: int) -> tuple[int, int]:
    """Return resident and shared bytes (proc_pid_statm(5)); none when it is gone."""
    fields = read(f"/proc/{pid}/statm").split()
    return (int(fields[1]) * PAGE_BYTES, int(fields[2]) * PAGE_BYTES) if len(fields) > 2 else (0, 0)


def _proportional(pid: int) -> int:
    """Return the PSS; of who does not let us look (another user's), what it shares with nobody."""
    for line in read(f"/proc/{pid}/smaps_rollup").splitlines():
        if line.startswith(b"Pss:"):
            return int(line.split()[1]) * 1024
    resident, shared = _statm(pid)
    return resident - shared


def _is_one_image(pid: int, parent: int) -> bool:
    """Say whether two processes share one address space: between vfork and exec each would count all of it."""
    if sys.platform != "linux" or _KCMP is None:
        return False
    return bool(_syscall(_KCMP, pid, parent, _KCMP_VM, 0, 0) == 0)
