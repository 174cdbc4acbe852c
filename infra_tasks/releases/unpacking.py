"""Makes the files of packs while these are still on their way, from as much of them as is there."""

from __future__ import annotations

import os
import re
import shutil
from contextlib import suppress
from pathlib import Path
from threading import Event, Thread
from typing import IO, TYPE_CHECKING, Self

from infra_tasks.errors import NotAsSent
from infra_tasks.releases.packing import BUFFER_BYTES, unpack
from infra_tasks.releases.reading import closing_fd, open_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from infra_tasks.model.manifest import Entry
    from infra_tasks.releases.walk import Plain

LOOK_AGAIN_S = 0.005
# What rsync calls a file until it is whole.
_GROWING = re.compile(r"\.(\d+)\.[A-Za-z0-9]+")


def beside(tree: Path) -> Path:
    """Return where packs for a tree that grows arrive: whoever clears away the tree clears that away, too."""
    return Path(f"{tree}-packs")


class Unpacking:
    """Use it in a `with` around the carrying. `rows` afterwards: the state of each file right after it was made.

    Raises at the end NotAsSent for what did not come as it should, and OSError.
    """

    def __init__(self, tree: Path, packs: Sequence[Sequence[Entry]]) -> None:
        self.rows: dict[str, Plain] = {}
        self._tree = tree
        self._place = beside(tree)
        self._packs = packs
        self._all_there = Event()
        self._error: BaseException | None = None
        self._thread = Thread(target=self._run, name="unpacking", daemon=True)

    def _run(self) -> None:
        try:
            with closing_fd(open_folder(self._tree)) as top:
                for number, entries in enumerate(self._packs):
                    with self._opened(number) as pack:
                        self.rows.update(unpack(_growing(pack, self._all_there), entries, top))
                    (self._place / str(number)).unlink(missing_ok=True)
        except BaseException as error:  # noqa: BLE001  raised where it is waited for
            self._error = error

    def _opened(self, number: int) -> IO[bytes]:
        """Open a pack as soon as it has any name: it keeps what it has when rsync gives it another one."""
        while True:
            is_last_look = self._all_there.is_set()
            for name in os.listdir(self._place):  # noqa: PTH208  names are all that is wanted
                growing = _GROWING.fullmatch(name)
                if name == str(number) or (growing and growing[1] == str(number)):
                    with suppress(FileNotFoundError):
                        return (self._place / name).open("rb", buffering=BUFFER_BYTES)
            if is_last_look:
                raise NotAsSent(f"the pack {number} of {len(self._packs)} did not arrive")
            self._all_there.wait(LOOK_AGAIN_S)

    def __enter__(self) -> Self:
        self._place.mkdir()
        self._thread.start()
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        self._all_there.set()
        self._thread.join()
        shutil.rmtree(self._place, ignore_errors=True)
        if self._error is not None and kind is None:
            raise self._error


def _growing(file: IO[bytes], all_there: Event) -> Callable[[int], bytes]:
    """Return what reads a file that somebody may still write: it waits for so many bytes; fewer are all there are."""

    def read(size: int) -> bytes:
        content = file.read(size)
        while len(content) < size:
            is_last_look = all_there.wait(LOOK_AGAIN_S)
            more = file.read(size - len(content))
            if is_last_look and not more:
                break
            content += more
        return content

    return read
