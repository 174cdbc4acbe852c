"""All outputs of an attempt that has ended, beside it: `outputs/` with the files, `outputs.json` with their list.

outputs.json    {node, attempt, files: [{path, size_bytes, sha256}], missing: [patterns], left_out: [{path, why}],
                 error}; on the disk itself, and written last: without it nothing was collected, and all begins anew
outputs.lock    flock: whoever holds it is at it; its time says when it was last seen at work, its size how often
                 somebody began
"""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import time
from typing import TYPE_CHECKING, Any, Self

from infra_tasks.model.patterns import Patterns
from infra_tasks.outputs.find import MAX_FILES, MAX_LEFT_OUT, Finding, LeftOut, Root, find
from infra_tasks.outputs.stage import Staged, stage
from infra_tasks.runner.attempt import MODE, read_json, write_json

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from infra_tasks.runner.attempt import Attempt

LIST = "outputs.json"
FOLDER = "outputs"
LOCK = "outputs.lock"
# Somebody who died of it every time will die of it again.
MAX_TRIES = 3
BEAT_EVERY_S = 1.0
# What the disk says when it can take no more: what goes on then is the list, with the reason.
FULL = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO}

Listed = dict[str, Any]


class AtWork:
    """The lock of who collects the outputs of an attempt, and its sign of life."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._beat_at = 0.0

    @classmethod
    def begin(cls, attempt: Attempt) -> Self | None:
        """Take the lock; None while somebody else has it."""
        fd = os.open(f"{attempt.path}/{LOCK}", os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, MODE)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(fd)
            return None
        return cls(fd)

    def tries(self) -> int:
        """Return how often somebody began to collect."""
        return os.fstat(self._fd).st_size

    def note_try(self) -> None:
        """Note that somebody begins."""
        os.write(self._fd, b"x")

    def beat(self) -> None:
        """Show that the work goes on."""
        if time.monotonic() - self._beat_at >= BEAT_EVERY_S:
            self._beat_at = time.monotonic()
            os.utime(self._fd)

    def __enter__(self) -> Self:
        self.beat()
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._fd)


def silent_s(attempt: Attempt, now: float) -> float:
    """Return for how long nobody was seen at work (`now`: wall seconds); 0 when nobody has begun."""
    try:
        return max(0.0, now - os.stat(f"{attempt.path}/{LOCK}").st_mtime)  # noqa: PTH116
    except OSError:
        return 0.0


def collected(attempt: Attempt) -> Listed | None:
    """Return the list, once all is collected."""
    return read_json(f"{attempt.path}/{LIST}")


def roots_of(attempt: Attempt, record: dict[str, Any], projects: Path) -> list[Root]:
    """Return where outputs can lie: the scratch folder, and a private copy of the project (against its release).

    A release that runs share is no run's to write to: what matches there was there before.
    """
    roots = [Root(os.fspath(attempt.scratch))]
    private = attempt.folder / "private"
    if record.get("cwd") == os.fspath(private):
        release = projects / str(record["project"]) / "releases" / str(record["release"])
        roots.append(Root(os.fspath(private), os.fspath(release)))
    return roots


def collect(attempt: Attempt, patterns: Sequence[str], roots: Sequence[Root], node: str, work: AtWork) -> Listed:
    """Collect what the patterns mean, and return the list. Never raises: what went wrong stands in the list."""
    known = collected(attempt)
    if known is not None:
        return known
    said = {"node": node, "attempt": int(attempt.folder.name), "files": [], "missing": [], "left_out": []}
    try:
        if work.tries() >= MAX_TRIES:
            return _refused(attempt, said, f"nobody could finish collecting them in {MAX_TRIES} tries")
        work.note_try()
        listed = {**said, **_collect(attempt, find(roots, Patterns(patterns), work.beat), work)}
        write_json(attempt.path, LIST, listed, durable=True)
    except OSError as error:
        return _refused(attempt, said, f"they could not be collected: {error.strerror or error}")
    return listed


def _collect(attempt: Attempt, finding: Finding, work: AtWork) -> Listed:
    into = f"{attempt.path}/{FOLDER}"
    shutil.rmtree(into, ignore_errors=True)
    os.mkdir(into)  # noqa: PTH102
    staged: list[Staged] = []
    left_out = list(finding.left_out)
    full = None
    for found in finding.files:
        work.beat()
        try:
            staged.append(stage(found, into, work.beat))
        except OSError as error:
            if error.errno in FULL:
                full = f"{found.path!r} and what comes after it could not be taken: {error.strerror}"
                break
            left_out.append(LeftOut(found.path, f"cannot be taken: {error.strerror or error}"))
    many = f"more than {MAX_FILES} files are meant; the others were left out" if finding.too_many else None
    return {
        "files": [one._asdict() for one in staged],
        "missing": finding.missing,
        "left_out": [one._asdict() for one in left_out[:MAX_LEFT_OUT]],
        "left_out_count": len(left_out),
        "error": full or many,
    }


def _refused(attempt: Attempt, said: Listed, why: str) -> Listed:
    """Half of them are worth nothing: give their room back, and say so; if that cannot be kept, it is said once."""
    shutil.rmtree(f"{attempt.path}/{FOLDER}", ignore_errors=True)
    listed = {**said, "error": why}
    try:
        os.mkdir(f"{attempt.path}/{FOLDER}")  # noqa: PTH102
        write_json(attempt.path, LIST, listed, durable=True)
    except OSError:
        return listed
    return listed
