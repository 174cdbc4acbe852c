"""The archive of this node: runs that left the ledger, newest first, one frame in memory at a time."""

from __future__ import annotations

from collections import deque
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from infra_tasks.history.frames import FrameDamaged, Frames
from infra_tasks.history.past_line import id_begins, of_line, to_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from infra_tasks.history.frames import Frame
    from infra_tasks.ledger.history import Past
    from infra_tasks.ledger.records import Run
    from infra_tasks.settings import Home

# A batch that was written and not struck off is written once more, a few frames later.
REMEMBERED_IDS = 10_000


class Archive:
    """What this node exported. `tell` is told what cannot be read."""

    def __init__(self, home: Home, tell: Callable[[str], object] = lambda _: None) -> None:
        self._frames = Frames(home.archive)
        self._tell = tell

    def add(self, pasts: Sequence[Past]) -> None:
        """Write runs, each to the month (UTC) it ended in. They are on the disk when this returns. Raises OSError."""
        months: dict[str, list[Past]] = {}
        for past in pasts:
            months.setdefault(_month(past.run), []).append(past)
        for month, those in months.items():
            self._frames.append(
                month, [to_line(past) for past in those], max(past.run.at("submitted_at") or 0 for past in those)
            )

    def place(self, run: Run) -> Path:
        """Return the file a run is in, if it is here."""
        return self._frames.file(_month(run))

    def count(self) -> tuple[int, int]:
        """Return how many lines and files there are."""
        names = self._frames.names()
        return sum(frame.lines or 0 for name in names for frame in self._frames.frames(name)[0]), len(names)

    def newest(self, since: float = 0.0) -> Iterator[Past]:
        """Yield the runs submitted after `since` (wall seconds), the one that ended last first, each once."""
        for line in self._lines(since):
            past = self._read(line)
            if past and (past.run.at("submitted_at") or 0) >= since:
                yield past

    def beginning_with(self, beginning: str, most: int = 5) -> list[Past]:
        """Return the runs whose id begins so; `most` when there are more."""
        found: dict[str, Past] = {}
        for line in self._lines(0.0):
            past = self._read(line) if id_begins(line, beginning) else None
            if past:
                found.setdefault(past.run.id, past)
            if len(found) == most:
                break
        return list(found.values())

    def _lines(self, since: float) -> Iterator[bytes]:
        seen: deque[bytes] = deque(maxlen=REMEMBERED_IDS)
        known: set[bytes] = set()
        for name in self._frames.names():
            frames, whole = self._frames.frames(name)
            if not whole:
                self._tell(f"archive {name}: its end is not whole and is passed over (a batch that was being written)")
            for frame in reversed(frames):
                if frame.newest is not None and frame.newest < since:
                    continue
                for line in reversed(self._of_frame(name, frame)):
                    key = line[: line.find(b",")]
                    if key in known:
                        continue
                    if len(seen) == seen.maxlen:
                        known.discard(seen[0])
                    seen.append(key)
                    known.add(key)
                    yield line

    def _of_frame(self, name: str, frame: Frame) -> list[bytes]:
        try:
            return self._frames.read(name, frame)
        except FrameDamaged as error:
            self._tell(f"archive {name}: {frame.lines or 'some'} runs at byte {frame.offset} are damaged: {error}")
            return []

    def _read(self, line: bytes) -> Past | None:
        try:
            return of_line(line)
        except ValueError as error:
            self._tell(f"a line of the archive cannot be read: {error}")
            return None


def _month(run: Run) -> str:
    return datetime.fromtimestamp(run.at("ended_at") or 0, UTC).strftime("%Y-%m")
