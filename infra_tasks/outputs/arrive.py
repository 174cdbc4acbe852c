"""Outputs that another node has come here: their list, then the files, checked one by one; then they get their place.

runs/<run>/.outputs.<attempt>.<who>/    where they grow: a folder of each process that fetches, as what a dead one
                                        started may still be writing into its own
"""

from __future__ import annotations

import json
import os
import shutil
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Protocol

from infra_tasks.errors import NamesCollide, NotAsSent, ReleaseError
from infra_tasks.model.manifest import PLAIN, Entry, collisions, is_outside
from infra_tasks.outputs import shelf
from infra_tasks.outputs.collect import FOLDER, LIST
from infra_tasks.releases.reading import hash_file
from infra_tasks.releases.trouble import said_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    from infra_tasks.settings import Home

# A disk with less room than this is as good as full.
LOW_BYTES = 64 * 1024 * 1024

File = dict[str, Any]


class Bring(Protocol):
    """Brings files below a folder of the other node's root into a folder here."""

    def __call__(self, folder: str, paths: Sequence[str], into: Path, size_bytes: int = 0) -> None:
        """Raise InfraError (what went wrong, what to do) when not all could be brought; what came is checked later."""


class Arrival:
    """The outputs of an attempt on `node` on their way into this node's folder. `who`: a word of this process alone."""

    def __init__(self, home: Home, run_id: str, attempt: int, node: str, who: str) -> None:
        self._home = home
        self._run = run_id
        self._attempt = attempt
        self._node = node
        self._run_folder = home.runs / run_id
        self._beside = self._run_folder / f".{shelf.NAME}.{attempt}.{who}"
        self._into = self._beside / FOLDER

    def fetch(self, bring: Bring, checking: Callable[[], object]) -> Path:
        """Bring all and return its place; what a fetch before this one brought is kept.

        `checking` is called before what came is read through. Raises InfraError; ValueError, KeyError, TypeError when
        the list is none.
        """
        if shelf.is_there(self._home, self._run, self._attempt, self._node):
            return shelf.folder_of(self._home, self._run)
        with said_of("outputs cannot be put here", self._run_folder):
            self._into.mkdir(parents=True, exist_ok=True)
        there = f"runs/{self._run}/{self._attempt}"
        bring(there, [LIST], self._beside)
        listed = json.loads((self._beside / LIST).read_bytes())
        files = self._files(listed)
        self._take_over(files)
        missing = self._wrong(files.values())
        if missing:
            self._bring_files(bring, f"{there}/{FOLDER}", [files[path] for path in missing])
            checking()
            if wrong := self._wrong(files[path] for path in missing):
                raise _not_as_sent(wrong, files.values())
        with said_of("outputs cannot be put into their place", self._run_folder):
            self._drop_strays(files)
            return shelf.place(self._home, self._run, self._into, listed)

    def _files(self, listed: dict[str, Any]) -> dict[str, File]:
        """Return what is to come, by path. A path must not lead anywhere else."""
        files = {str(file["path"]): file for file in listed["files"]}
        if any(is_outside(path) for path in files) or int(listed["attempt"]) != self._attempt:
            raise NotAsSent(f"this is not the list of outputs of run {self._run} attempt {self._attempt}")
        return files

    def _bring_files(self, bring: Bring, folder: str, files: Sequence[File]) -> None:
        size_bytes = sum(file["size_bytes"] for file in files)
        free_bytes = shutil.disk_usage(self._into).free
        if size_bytes + LOW_BYTES > free_bytes:
            raise ReleaseError(
                f"outputs need {size_bytes} bytes, and {free_bytes} are free at their home: make room there"
            )
        bring(folder, [file["path"] for file in files], self._into, size_bytes)

    def _take_over(self, files: Iterable[str]) -> None:
        """Go on with what a process before this one brought whole: only that has the name of a file of the list."""
        for left in self._others():
            for path in files:
                source, target = left / FOLDER / path, self._into / path
                with suppress(OSError):
                    if source.is_file() and not source.is_symlink() and not target.exists():
                        target.parent.mkdir(parents=True, exist_ok=True)
                        source.rename(target)
            shutil.rmtree(left, ignore_errors=True)

    def _others(self) -> Iterator[Path]:
        found = self._run_folder.glob(f".{shelf.NAME}.{self._attempt}.*")
        return (left for left in found if left != self._beside)

    def _wrong(self, files: Iterable[File]) -> list[str]:
        """Return the files that are not here as they should be."""
        return [file["path"] for file in files if not _is_right(self._into / file["path"], file)]

    def _drop_strays(self, files: dict[str, File]) -> None:
        """Remove what is not in the list: half files of a transfer that was killed."""
        for folder, _, names in os.walk(self._into):
            for name in names:
                path = os.path.join(folder, name)  # noqa: PTH118  ten thousand of them
                if os.path.relpath(path, self._into) not in files:
                    os.unlink(path)  # noqa: PTH108

    def size_bytes(self) -> int:
        """Return how many bytes have come, half files included."""
        size = 0
        for folder, _, names in os.walk(self._beside):
            for name in names:
                with suppress(OSError):
                    size += os.lstat(os.path.join(folder, name)).st_size  # noqa: PTH118
        return size

    def make_room(self) -> None:
        """What came is kept for the next try, unless that is what fills the disk."""
        if shutil.disk_usage(self._home.root).free < LOW_BYTES:
            self.drop()

    def drop(self) -> None:
        """Leave nothing on the way."""
        for left in (self._beside, *self._others()):
            shutil.rmtree(left, ignore_errors=True)


def _is_right(path: Path, file: File) -> bool:
    try:
        return bool(path.lstat().st_size == file["size_bytes"] and hash_file(os.fspath(path))[0] == file["sha256"])
    except OSError:
        return False


def _not_as_sent(wrong: Sequence[str], files: Iterable[File]) -> ReleaseError:
    entries = [Entry(file["path"], "file", PLAIN, file["size_bytes"], file["sha256"]) for file in files]
    for twins in collisions(entries):
        if set(twins) & set(wrong):
            return NamesCollide(
                f"{twins[0]!r} and {twins[1]!r} are one name on the disk they are wanted on: rename one"
            )
    return NotAsSent(f"{len(wrong)} outputs arrived with another content than they had: {wrong[0]!r}")
