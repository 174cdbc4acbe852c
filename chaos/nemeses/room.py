"""Nemesis 6: no room on the disk of the runs or of Redis, a read-only run folder, no free file descriptors."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import suppress
from typing import TYPE_CHECKING

from chaos.nemeses.kind import Kind

if TYPE_CHECKING:
    from chaos.nemeses.kind import Scene, Undo
    from chaos.strikes import Strike

if sys.platform == "linux":
    import resource

BALLAST = "ballast"
A_PIECE_BYTES = 1 << 20
SMALL_DISKS, ANYWHERE = frozenset({"one-small"}), frozenset({"one", "one-small"})
ROOT_ONLY = "only root on Linux can do that"


def why_not() -> str:
    """Say why it cannot be done here, or nothing."""
    return "" if sys.platform == "linux" and os.geteuid() == 0 else ROOT_ONLY


def fill(scene: Scene, strike: Strike) -> Undo:
    """The disk of the runs, that of Redis or that of the rest of the node (`.`) is full to the last byte."""
    ballast = scene.bed.home(strike.node) / strike.target / BALLAST
    fd = os.open(ballast, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    size = A_PIECE_BYTES
    while size:
        size = size if _grown(fd, size) else size // 2

    def give_back() -> None:
        """The folder may be read-only by now: what is open can be cut all the same."""
        os.ftruncate(fd, 0)
        os.close(fd)
        with suppress(OSError):
            ballast.unlink()

    return give_back


def _grown(fd: int, size: int) -> bool:
    try:
        return os.write(fd, bytes(size)) > 0
    except OSError:
        return False


def read_only(scene: Scene, strike: Strike) -> Undo:
    """Nothing can be made, changed or removed below the folder of the runs; what is open already can be written."""
    runs = str(scene.bed.home(strike.node) / "runs")
    subprocess.run(["mount", "-o", "bind,ro", runs, runs], check=True, capture_output=True)
    return lambda: subprocess.run(["umount", "--lazy", runs], check=True)


def no_descriptors(scene: Scene, strike: Strike) -> Undo:
    """A part can open nothing any more, no file and no connection."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    for pid in scene.bed.pids(strike.target, strike.node):
        with suppress(OSError):
            resource.prlimit(pid, resource.RLIMIT_NOFILE, (_lowest_free(pid), before[1]))

    def give_back() -> None:
        """What was started meanwhile inherited it: that it should not have, and gets back as well."""
        scene.bed.restart(strike.node)
        given: set[int] = set()
        # Whoever was begun by one that had not got it back yet is found by another look.
        while more := {pid for part in ("everything", "zygotes") for pid in scene.bed.pids(part, strike.node)} - given:
            for pid in more:
                with suppress(OSError):
                    resource.prlimit(pid, resource.RLIMIT_NOFILE, before)
            given |= more

    return give_back


def _lowest_free(pid: int) -> int:
    taken = {int(name) for name in os.listdir(f"/proc/{pid}/fd")}  # noqa: PTH208
    return next(number for number in range(len(taken) + 1) if number not in taken)


ALL = (
    Kind("disk-full", 6, fill, ("runs", "redis", "."), lasts_s=(1, 15), beds=SMALL_DISKS, why_not=why_not),
    Kind("read-only", 6, read_only, lasts_s=(1, 15), beds=ANYWHERE, why_not=why_not),
    Kind(
        "no-descriptors",
        6,
        no_descriptors,
        ("worker", "children", "agent", "control", "beat", "watcher"),
        lasts_s=(1, 15),
        beds=ANYWHERE,
        why_not=why_not,
    ),
)
