"""Checks files while others are still on their way: each as soon as it has its name."""

from __future__ import annotations

from threading import Event, Thread
from typing import TYPE_CHECKING, Self

from infra_tasks.releases.reading import closing_fd, open_folder, seal
from infra_tasks.releases.supply import sealed
from infra_tasks.releases.walk import row_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from infra_tasks.model.manifest import Entry
    from infra_tasks.releases.walk import Plain

# After so many that are not there yet, those that should come later are not looked for: that costs as much as a file.
IN_VAIN = 8
# Fewer files than this are checked when all are there: looking for them meanwhile would only hold up the links.
MANY = 1000
LOOK_AGAIN_S = 0.02


class Arriving:
    """Looks for files in the order rsync sends them. `rows`: those that came, are right and have their mode now.

    Use it in a `with` around the carrying. What is not in `rows` afterwards is still to be checked: it came in another
    order, or is not what was asked for.
    """

    def __init__(self, tree: Path, entries: Sequence[Entry]) -> None:
        self.rows: dict[str, Plain] = {}
        self._tree = tree
        self._entries = sorted(entries, key=lambda entry: order(entry.path)) if len(entries) >= MANY else []
        self._over = Event()
        self._thread = Thread(target=self._run, name="arriving", daemon=True)

    def _run(self) -> None:
        pending = self._entries[::-1]
        with closing_fd(open_folder(self._tree)) as here:
            while pending and not self._over.is_set():
                late: list[Entry] = []
                while pending and len(late) < IN_VAIN:
                    if not self._came(pending[-1], here):
                        late.append(pending[-1])
                    pending.pop()
                pending += late[::-1]
                self._over.wait(LOOK_AGAIN_S)

    def _came(self, entry: Entry, here: int) -> bool:
        try:
            found = seal(entry.path, sealed(entry), entry.sha256, here)
        except OSError:
            return False
        if found is not None:
            self.rows[entry.path] = row_of(entry.path, found)
        return True

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()


def order(path: str) -> list[tuple[bool, str]]:
    """Return what rsync sorts by: in each folder first the files, then the folders."""
    *folders, name = path.split("/")
    return [*((True, folder) for folder in folders), (False, name)]
