"""What of a node's folder belongs into a backup, besides the ledger: found, and each file's digest taken.

Output, code and scratch are not in it: they are large, and a run can be told again without them.
"""

from __future__ import annotations

import hashlib
import os
import stat
from contextlib import suppress
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING

from infra_tasks import live
from infra_tasks.errors import BackupFailed
from infra_tasks.history.frames import INDEX_SUFFIX, SUFFIX, Frames
from infra_tasks.model.backup import Member, is_ours, is_worth_keeping
from infra_tasks.runner.attempt import Attempt

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from infra_tasks.settings import Home

PIECE_BYTES = 1 << 20
# Of an attempt's folder: all it takes to say how it ended.
RECORDS = (
    "record.json",
    "orders.json",
    "started.json",
    "exit.json",
    "reported",
    "told.json",
    "tombstone.json",
)


@dataclass(frozen=True)
class Source:
    """A member and where its bytes are: in `data`, or in the first `size_bytes` of a file."""

    member: Member
    data: bytes | None = None
    file: Path | None = None

    def pieces(self) -> Iterator[bytes]:
        """Give its bytes. Raises BackupFailed when there are fewer than there were."""
        if self.data is not None:
            yield self.data
            return
        assert self.file is not None
        with self.file.open("rb") as file:
            left = self.member.size_bytes
            while left:
                piece = file.read(min(PIECE_BYTES, left))
                if not piece:
                    raise BackupFailed(f"{self.file} became shorter while it was read; try again")
                left -= len(piece)
                yield piece


def of_file(name: str, path: Path, size_bytes: int | None = None) -> Source:
    """Return a file, or its first bytes, as a member. Raises OSError."""
    with path.open("rb") as file:
        found = os.fstat(file.fileno())
        digest, size = _digest(file, found.st_size if size_bytes is None else size_bytes)
    return Source(Member(name, size, digest, stat.S_IMODE(found.st_mode) & 0o700, found.st_mtime), file=path)


def of_bytes(name: str, data: bytes, modified_at: float) -> Source:
    """Return bytes as a member."""
    return Source(Member(name, len(data), hashlib.sha256(data).hexdigest(), 0o600, modified_at), data=data)


def _digest(file: IO[bytes], size_bytes: int) -> tuple[str, int]:
    sha, left = hashlib.sha256(), size_bytes
    while left and (piece := file.read(min(PIECE_BYTES, left))):
        sha.update(piece)
        left -= len(piece)
    return sha.hexdigest(), size_bytes - left


def of_node(home: Home, copied_at: float, tell: Callable[[str], object]) -> Iterator[Source]:
    """Give what a machine needs to become this node. `copied_at`: when the copy of the ledger was begun (wall seconds).

    Read after that moment: an end is in the copy, or still to be found here. Raises OSError.
    """
    for name in ("nodes.json", "node.json", "ports.json", "secrets.json"):
        yield from _small(name, home.root / name)
    for folder in ("secrets", "ssh", "fetch"):
        for path in _files(home.root / folder):
            yield from _small(str(path.relative_to(home.root)), path)
    yield from _ends(home, copied_at, tell)
    yield from _archive(home)


def _small(name: str, path: Path) -> Iterator[Source]:
    """Read it whole at once: it may be replaced meanwhile."""
    if not is_ours(name):
        raise BackupFailed(f"{path} cannot be in a backup: its name has signs no file of a node has; move it away")
    with suppress(FileNotFoundError), path.open("rb") as file:
        found = os.fstat(file.fileno())
        yield of_bytes(name, file.read(), found.st_mtime)


def _files(folder: Path) -> Iterator[Path]:
    """Give the regular files below a folder that no writer is just making (those begin with a dot)."""
    with suppress(FileNotFoundError, NotADirectoryError):
        for path in sorted(folder.iterdir()):
            if path.name.startswith(".") or path.name.endswith(".lock") or path.is_symlink():
                continue
            if path.is_dir():
                yield from _files(path)
            elif path.is_file():
                yield path


def _ends(home: Home, copied_at: float, tell: Callable[[str], object]) -> Iterator[Source]:
    """Give the records of attempts whose end the copy may not know."""
    noted = {(one.token.run, one.token.attempt): one.token for one in live.attempts(home)}
    for looked, run in enumerate(home.runs.iterdir() if home.runs.is_dir() else ()):
        tell(f"looking for ends: {looked:,} runs")
        for folder in _attempts(run):
            if not _may_be_unknown(folder, copied_at):
                continue
            for name in RECORDS:
                yield from _small(f"runs/{run.name}/{folder.name}/{name}", folder / name)
            token = noted.get((run.name, int(folder.name)))
            if token is not None:
                yield of_bytes(f"live/{token.run}@{token.attempt}", token.claim.encode(), copied_at)


def _attempts(run: Path) -> list[Path]:
    """Return the folders of a run's attempts; none when it is just being deleted."""
    with suppress(FileNotFoundError, NotADirectoryError):
        return [folder for folder in run.iterdir() if folder.name.isdigit()]
    return []


def _may_be_unknown(folder: Path, copied_at: float) -> bool:
    reported_at = None
    with suppress(OSError):
        reported_at = (folder / "reported").stat().st_mtime
    if reported_at is not None and not is_worth_keeping(ended=True, reported_at=reported_at, copied_at=copied_at):
        return False
    return is_worth_keeping(
        ended=Attempt(folder).exit_record() is not None, reported_at=reported_at, copied_at=copied_at
    )


def _archive(home: Home) -> Iterator[Source]:
    """Give what left the history here, as far as it is whole: it may grow meanwhile."""
    for name in Frames(home.archive).names():
        frames, _ = Frames(home.archive).frames(name)
        if not frames:
            continue
        yield of_file(f"archive/{name}{SUFFIX}", home.archive / f"{name}{SUFFIX}", frames[-1].end)
        index = home.archive / f"{name}{INDEX_SUFFIX}"
        with suppress(FileNotFoundError):
            lines = index.read_bytes().splitlines(keepends=True)[: len(frames)]
            yield of_bytes(f"archive/{name}{INDEX_SUFFIX}", b"".join(lines), index.stat().st_mtime)
