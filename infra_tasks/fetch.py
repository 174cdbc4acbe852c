"""Fetches the outputs of runs whose home is this node from the nodes that ran them.

A request becomes a small file in `<root>/fetch` at once, so that whoever brought it is free again and nothing is lost;
one fetcher brings them, one after the other, checks every file, gives the folder its place and says so in the ledger.
What cannot be fetched now is tried again, less and less often, until the other node has surely deleted it.
"""

from __future__ import annotations

import logging
import os
import secrets
import time
from contextlib import suppress
from functools import partial
from threading import Event, Thread
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, Self

from infra_tasks.errors import FleetUnreachable, InfraError
from infra_tasks.ledger.bringing import COMING, FAILED, HERE
from infra_tasks.outputs.arrive import Arrival
from infra_tasks.runner.attempt import read_json, write_json
from infra_tasks.submit import is_run_id

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
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
        if at and number.isdigit() and not path.name.startswith(".") and said and "node" in said:
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
        self._who = secrets.token_hex(4)

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

    def _arrival(self, me: ThisNode, one: Want) -> Arrival:
        return Arrival(me.home, one.run, one.attempt, one.node, self._who)

    def _strike_off(self, me: ThisNode, one: Want) -> None:
        self._arrival(me, one).drop()
        (me.home.fetch / one.name).unlink(missing_ok=True)

    def _fetched(self, me: ThisNode, one: Want) -> bool:
        arrival, bring = self._arrival(me, one), partial(self._carry, me.home, me.fleet, one.node)
        try:
            with _Progress(self._ledger, one, arrival, lambda: self._in_line(me, one)) as progress:
                place = arrival.fetch(bring, progress.checking)
        except (InfraError, OSError, ValueError, KeyError, TypeError) as error:
            log.warning("outputs of run %s attempt %d: %s; tried again", one.run, one.attempt, error)
            arrival.make_room()
            self._say(one, FAILED, error=str(error))
            return False
        log.info("outputs of run %s attempt %d came from %s", one.run, one.attempt, one.node)
        self._say(one, HERE, folder=os.fspath(place))
        return True

    def _in_line(self, me: ThisNode, one: Want) -> list[Want]:
        """Return whose turn comes when this one is here."""
        return [other for _, other in wanted(me.home) if other != one and other.name not in self._later]

    def _say(self, one: Want, said: str, **more: Any) -> None:
        with suppress(FleetUnreachable):  # whoever waits for this stops waiting by itself
            self._ledger.bringing.note(one.run, one.attempt, said, node=one.node, **more)


class _Progress:
    """Says every two seconds how many bytes have come, or for how long they are being checked: who waits sees it go on.

    Those in line behind it get on as well. A link that hangs is no progress; carriers have deadlines of their own.
    """

    def __init__(self, ledger: Ledger, one: Want, arrival: Arrival, in_line: Callable[[], list[Want]]) -> None:
        self._ledger = ledger
        self._one = one
        self._arrival = arrival
        self._in_line = in_line
        self._over = Event()
        self._thread = Thread(target=self._run, name="progress", daemon=True)
        self._checking_since: float | None = None

    def checking(self) -> None:
        """All has come, and is read through from now on."""
        self._checking_since = time.monotonic()

    def _run(self) -> None:
        while True:
            checked_s = time.monotonic() - self._checking_since if self._checking_since else 0
            far = {"size_bytes": self._arrival.size_bytes(), "checked_s": round(checked_s)}
            with suppress(InfraError, OSError):
                for one in [self._one, *self._in_line()]:
                    self._ledger.bringing.note(one.run, one.attempt, COMING, now=self._one.name, **far)
            if self._over.wait(TELL_EVERY_S):
                return

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
