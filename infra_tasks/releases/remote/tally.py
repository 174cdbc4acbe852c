"""How far a transfer is, as those hear it who watch."""

from __future__ import annotations

from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from infra_tasks.model.manifest import Entry


@dataclass(frozen=True)
class Progress:
    """How far a transfer is: files and bytes sent, of all that go."""

    files: int
    files_all: int
    size_bytes: int
    size_bytes_all: int


class Tally:
    """Counts what has been sent and tells how far it is. rsync names a file when it begins it: it is there later."""

    def __init__(self, sizes: dict[str, int], progress: Callable[[Progress], None]) -> None:
        self._sizes = sizes
        self._all = sum(sizes.values())
        self._progress = progress
        self._lock = Lock()
        self._files = self._bytes = 0
        self._under_way: str | None = None
        progress(Progress(0, len(sizes), 0, self._all))

    def __call__(self, path: str) -> None:
        """Hear that a path begins: the one before it was sent."""
        if self._under_way is not None:
            self._count(1, self._sizes.get(self._under_way, 0))
        with self._lock:
            self._under_way = path

    def are_there(self, entries: Collection[Entry]) -> None:
        """Hear that a pack of files was sent."""
        self._count(len(entries), sum(entry.size for entry in entries))

    def half_is_there(self, path: str, size_bytes: int) -> None:
        """Hear how much there is of a file that is on its way."""
        with self._lock:
            if path == self._under_way:
                sent = min(self._bytes + size_bytes, self._all)
                self._progress(Progress(self._files, len(self._sizes), sent, self._all))

    def all_are_there(self) -> None:
        """Hear that the transfer has ended well."""
        self._progress(Progress(len(self._sizes), len(self._sizes), self._all, self._all))

    def _count(self, files: int, size_bytes: int) -> None:
        with self._lock:
            self._files += files
            self._bytes += size_bytes
            self._progress(Progress(self._files, len(self._sizes), self._bytes, self._all))
