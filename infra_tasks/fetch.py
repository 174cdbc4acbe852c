"""Fetches the outputs of runs whose home is this node from the nodes that ran them.

A request becomes a small file in `<root>/fetch` at once, so that whoever brought it is free again and nothing is lost;
one fetcher brings them, one after the other, checks every file, gives the folder its place and says so in the ledger.
What cannot be fetched now is tried again, less and less often, until the other node has surely deleted it.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import time
from contextlib import suppress
from threading import Event, Thread
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, Self

from infra_tasks.errors import FleetUnreachable, InfraError, NotAsSent, ReleaseError
from infra_tasks.ledger.bringing import COMING, FAILED, HERE
from infra_tasks.model.manifest import is_outside
from infra_tasks.outputs import shelf
from infra_tasks.outputs.collect import FOLDER, LIST
from infra_tasks.releases.reading import hash_file
from infra_tasks.releases.trouble import said_of
from infra_tasks.runner.attempt import read_json, write_json
from infra_tasks.submit import is_run_id

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence
    from pathlib import Path

    from infra_tasks.ledger import Ledger
    from infra_tasks.model.fleet import Fleet
    from infra_tasks.node import ThisNode
    from infra_tasks.settings import Home

LOOK_EVERY_S = 5.0
FIRST_PAUSE_S = 5.0
LONGEST_PAUSE_S = 600.0
DAY_S = 86400.0
TELL_EVERY_S = 2.0
# A disk with less room than this is as good as full.
LOW_BYTES = 64 * 1024 * 1024

log = logging.getLogger(__name__)

# Set when something new is wanted: the fetcher of this process need not wait for its next look.
_news = Event()
# What a full disk could not note, by the file it belongs into: noted by the fetcher as soon as there is room.
_in_mind: dict[Path, Want] = {}


class Carrier(Protocol):
    """Brings files below a folder of another node's root into a folder here."""

    def __call__(
        self, home: Home, fleet: Fleet, node: str, folder: str, paths: Sequence[str], into: Path, size_bytes: int = 0
    ) -> None:
        """Raise InfraError (what went wrong, what to do) when not all could be brought; what came is checked later."""


class Want(NamedTuple):
    """Outputs that are to come here: of which attempt, and where they are."""

    node: str
    attempt: int
    run: str

    @property
    def name(self) -> str:
        """The name of its file."""
        return f"{self.run}@{self.attempt}"


def want(home: Home, node: str, attempt: int, run_id: str) -> None:
    """Note that outputs are wanted here. Noted twice is noted once."""
    wanted = Want(node, attempt, run_id)
    if not is_run_id(run_id) or attempt < 1:
        log.error("asked for the outputs of what is no attempt: %r", wanted)
        return
    try:
        _note(home.fetch / wanted.name, wanted)
    except OSError as error:
        log.error("outputs of run %s attempt %d: the wish for them cannot be noted: %s", run_id, attempt, error)  # noqa: TRY400  the reason is enough
        _in_mind[home.fetch / wanted.name] = wanted
    _news.set()


def _note(path: Path, wanted: Want) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if read_json(os.fspath(path)) != {"node": wanted.node}:
        write_json(os.fspath(path.parent), path.name, {"node": wanted.node}, durable=True)


def _note_what_is_in_mind() -> None:
    for path, one in list(_in_mind.items()):
        with suppress(OSError):
            _note(path, one)
            del _in_mind[path]


def wanted(home: Home) -> list[tuple[float, Want]]:
    """Return what is noted, the oldest first, and since when (wall seconds)."""
    found = []
    for path in home.fetch.iterdir() if home.fetch.is_dir() else ():
        run, at, number = path.name.rpartition("@")
        said = read_json(os.fspath(path))
        if at and number.isdigit() and not path.name.startswith(".") and said:
            with suppress(FileNotFoundError):
                found.append((path.stat().st_mtime, Want(str(said["node"]), int(number), run)))
    return sorted(found)


class Fetcher:
    """Fetches for this node. `run_once` is one fetch, or the finding that none is due."""

    def __init__(self, here: Callable[[], ThisNode], ledger: Ledger, carry: Carrier) -> None:
        self._here = here
        self._ledger = ledger
        self._carry = carry
        self._later: dict[str, tuple[float, float]] = {}

    def run(self, over: Event | None = None) -> None:
        """Fetch for ever, or until it is over."""
        over = over or Event()
        while not over.is_set():
            try:
                if self.run_once(time.monotonic()):
                    continue
            except Exception:
                log.exception("a turn of the fetcher failed; the next one follows")
            _news.wait(LOOK_EVERY_S)
            _news.clear()

    def run_once(self, now: float) -> bool:
        """Fetch the oldest that is due, a new one before one that failed; False when none is. `now`: monotonic seconds.

        Somebody waits for what is new; a node that hangs must not hold up what others have.
        """
        me = self._here()
        _note_what_is_in_mind()
        noted = wanted(me.home)
        self._later = {one.name: self._later[one.name] for _, one in noted if one.name in self._later}
        for since, one in sorted(noted, key=lambda each: each[1].name in self._later):
            if self._later.get(one.name, (0.0, 0.0))[0] > now:
                continue
            if time.time() - since > me.fleet.limits.keep_runs_days * DAY_S:
                log.error("outputs of run %s attempt %d could not be fetched from %s", one.run, one.attempt, one.node)
                self._strike_off(me, one)
            elif self._fetched(me, one):
                self._strike_off(me, one)
            else:
                pause_s = min(2 * self._later.get(one.name, (0.0, FIRST_PAUSE_S / 2))[1], LONGEST_PAUSE_S)
                self._later[one.name] = (time.monotonic() + pause_s, pause_s)
            return True
        return False

    def _strike_off(self, me: ThisNode, one: Want) -> None:
        shutil.rmtree(shelf.building(me.home, one.run, one.attempt), ignore_errors=True)
        (me.home.fetch / one.name).unlink(missing_ok=True)

    def _fetched(self, me: ThisNode, one: Want) -> bool:
        try:
            with _Progress(self._ledger, one, shelf.building(me.home, one.run, one.attempt)) as progress:
                place = _fetch(me, one, self._carry, progress)
        except (InfraError, OSError, ValueError, KeyError, TypeError) as error:
            log.warning("outputs of run %s attempt %d: %s; tried again", one.run, one.attempt, error)
            self._make_room(me, one)
            self._say(one, FAILED, error=str(error))
            return False
        log.info("outputs of run %s attempt %d came from %s", one.run, one.attempt, one.node)
        self._say(one, HERE, folder=os.fspath(place))
        return True

    def _make_room(self, me: ThisNode, one: Want) -> None:
        """What came is kept for the next try, unless that is what fills the disk."""
        if shutil.disk_usage(me.home.root).free < LOW_BYTES:
            shutil.rmtree(shelf.building(me.home, one.run, one.attempt), ignore_errors=True)

    def _say(self, one: Want, said: str, **more: Any) -> None:
        with suppress(FleetUnreachable):  # whoever waits for this stops waiting by itself
            self._ledger.bringing.note(one.run, one.attempt, said, node=one.node, **more)


def _fetch(me: ThisNode, one: Want, carry: Carrier, progress: _Progress) -> Path:
    """Bring list and files, check every one, give them their place. What a fetch before this one brought is kept."""
    if shelf.is_there(me.home, one.run, one.attempt, one.node):
        return shelf.folder_of(me.home, one.run)
    there, into = f"runs/{one.run}/{one.attempt}", shelf.building(me.home, one.run, one.attempt)
    with said_of("outputs cannot be put here", into):
        (into / FOLDER).mkdir(parents=True, exist_ok=True)
    carry(me.home, me.fleet, one.node, there, [LIST], into)
    listed = json.loads((into / LIST).read_bytes())
    files = {str(file["path"]): file for file in listed["files"]}
    if any(is_outside(path) for path in files) or int(listed["attempt"]) != one.attempt:
        raise NotAsSent(f"the list of outputs on {one.node} is not that of run {one.run} attempt {one.attempt}")
    _drop_others(into / FOLDER, files.keys())
    missing = _wrong(files.values(), into / FOLDER)
    if missing:
        size_bytes = sum(files[path]["size_bytes"] for path in missing)
        free_bytes = shutil.disk_usage(into).free
        if size_bytes + LOW_BYTES > free_bytes:
            raise ReleaseError(
                f"outputs need {size_bytes} bytes, and {free_bytes} are free on {me.name}: make room there"
            )
        carry(me.home, me.fleet, one.node, f"{there}/{FOLDER}", missing, into / FOLDER, size_bytes)
    progress.checking_since = time.monotonic()
    wrong = _wrong((files[path] for path in missing), into / FOLDER)
    if wrong:
        raise NotAsSent(f"{len(wrong)} files arrived with another content than they had on {one.node}: {wrong[0]!r}")
    with said_of("outputs cannot be put into their place", into):
        place = shelf.place(me.home, one.run, into / FOLDER, listed)
    shutil.rmtree(into, ignore_errors=True)
    return place


def _drop_others(folder: Path, paths: Collection[str]) -> None:
    """Remove what is in no list: a transfer that was killed leaves half a file under a name of its own."""
    top = os.fspath(folder)
    for where, _, names in os.walk(top):
        for name in names:
            path = os.path.join(where, name)  # noqa: PTH118  ten thousand of them
            if os.path.relpath(path, top) not in paths:
                with suppress(OSError):
                    os.unlink(path)  # noqa: PTH108


def _wrong(files: Iterable[dict[str, Any]], folder: Path) -> list[str]:
    """Return the files that are not there as they should be."""
    return [file["path"] for file in files if not _is_right(folder / file["path"], file)]


def _is_right(path: Path, file: dict[str, Any]) -> bool:
    try:
        return bool(path.lstat().st_size == file["size_bytes"] and hash_file(os.fspath(path))[0] == file["sha256"])
    except OSError:
        return False


class _Progress:
    """Says every two seconds how many bytes have come, or for how long they are being checked: who waits sees it go on.

    A file that comes over a link that hangs is no progress; carriers have deadlines of their own.
    """

    def __init__(self, ledger: Ledger, one: Want, folder: Path) -> None:
        self._ledger = ledger
        self._one = one
        self._folder = folder
        self._over = Event()
        self._thread = Thread(target=self._run, name="progress", daemon=True)
        self.checking_since: float | None = None

    def _run(self) -> None:
        while True:
            checked_s = time.monotonic() - self.checking_since if self.checking_since else 0
            far = {"size_bytes": _size(self._folder), "checked_s": round(checked_s)}
            with suppress(InfraError):
                self._ledger.bringing.note(self._one.run, self._one.attempt, COMING, node=self._one.node, **far)
            if self._over.wait(TELL_EVERY_S):
                return

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()


def _size(folder: Path) -> int:
    """Return how many bytes lie in a folder, half files included."""
    size = 0
    for where, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):
                size += os.lstat(os.path.join(where, name)).st_size  # noqa: PTH118  ten thousand of them
    return size
