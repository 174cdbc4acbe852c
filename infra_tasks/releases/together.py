"""What several threads want at the same time is done once: a snapshot of one source, a pack of the same files."""

from __future__ import annotations

import os
import shutil
import tempfile
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Generic, TypeVar

from infra_tasks.releases.packing import pack

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterator, Sequence

    from infra_tasks.model.manifest import Entry

Done = TypeVar("Done")


class Together(Generic[Done]):
    """Does something once for all who asked for it before it began: nobody is given what is older than his question."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._next: dict[Hashable, Future[Done]] = {}
        self._under_way: dict[Hashable, Future[Done]] = {}

    def do(self, what: Hashable, call: Callable[[], Done]) -> Done:
        """Return what `call` returns here or in another thread. Raises what it raises."""
        with self._lock:
            turn = self._next.get(what)
            before = self._under_way.get(what)
            if turn is None:
                mine = self._next[what] = Future[Done]()
        if turn is not None:
            return turn.result()
        if before is not None:
            before.exception()  # it began before we asked
        with self._lock:
            self._under_way[what] = self._next.pop(what)
        try:
            mine.set_result(call())
        except BaseException as error:  # noqa: BLE001  raised in each thread that waits
            mine.set_exception(error)
        with self._lock:
            if self._under_way.get(what) is mine:
                del self._under_way[what]
        return mine.result()


@dataclass
class _Shared:
    """A pack that is made or sent. `users`: who will not have it go."""

    place: Path
    made: Future[None] = field(default_factory=Future)
    users: int = 0


_packs: dict[Hashable, _Shared] = {}
_lock = Lock()


@contextmanager
def shared_pack(tree: Path, entries: Sequence[Entry], number: int, folder: Path) -> Iterator[Path]:
    """Give a pack, `number` by name, of files of a tree, in a folder of its own below `folder`; made if nobody has it.

    It is there until the last one lets go of it. Raises what `pack` raises.
    """
    what = (tree, folder, number, *((entry.path, entry.sha256) for entry in entries))
    while True:
        with _lock:
            one = _packs.get(what)
            is_mine = one is None
            if one is None:
                one = _packs[what] = _Shared(Path(tempfile.mkdtemp(prefix=".packs-", dir=folder), str(number)))
            one.users += 1
        try:
            if is_mine:
                _make(one, tree, entries)
            elif one.made.exception():
                continue  # whoever made it told why; it may be our turn now
            os.utime(one.place.parent)  # what is left over is swept away by its age
            yield one.place
            return
        finally:
            _let_go(what, one, failed=one.made.exception() is not None)


def _make(one: _Shared, tree: Path, entries: Sequence[Entry]) -> None:
    try:
        pack(tree, entries, one.place)
    except BaseException as error:
        one.made.set_exception(error)
        raise
    one.made.set_result(None)


def _let_go(what: Hashable, one: _Shared, *, failed: bool) -> None:
    with _lock:
        one.users -= 1
        if (failed or not one.users) and _packs.get(what) is one:
            del _packs[what]
        is_last = not one.users
    if is_last:
        with suppress(OSError):
            shutil.rmtree(one.place.parent)
