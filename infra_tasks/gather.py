"""Sees to the outputs of an attempt whose command has ended: collects them, and has them brought to the run's home.

Called by the worker child that waited for the shim, and by the agent for every attempt nobody waits for. What one has
begun the other goes on with; when both come at once, one works and the other waits or comes again.

    outputs.home.json   in the attempt's folder: what the result says of them, once nothing more is to be done
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from threading import Event
from typing import TYPE_CHECKING, Any

from infra_tasks.ledger.bringing import FAILED, HERE
from infra_tasks.model import outcome
from infra_tasks.model.spec import RunSpec
from infra_tasks.outputs import shelf
from infra_tasks.outputs.collect import FOLDER, AtWork, Listed, collect, roots_of, silent_s
from infra_tasks.outputs.telling import told
from infra_tasks.runner.attempt import read_json, write_json

if TYPE_CHECKING:
    from collections.abc import Mapping

    from infra_tasks.ledger import Ledger
    from infra_tasks.live import Token
    from infra_tasks.node import ThisNode
    from infra_tasks.runner.attempt import Attempt

DONE = "outputs.home.json"
# A home that says nothing new for this long is not waited for: it fetches them when it can.
HOME_PATIENCE_S = 30.0
# Who collects shows every second that it lives; after this long without, nobody waits for it any more.
STUCK_AFTER_S = 120.0
# After a sleep of the machine, or a jump of its clock, everybody seems to have been silent: a second look this much
# later tells. Who waited for a ledger that does not answer has given up by then.
LOOK_AGAIN_AFTER_S = 15.0
LOOK_EVERY_S = 0.1
LOOK_AT_MOST_EVERY_S = 1.0


@dataclass(frozen=True)
class Gathered:
    """What a result says of the outputs; None when none were asked for, or the command never started.

    `by_others_at`: when somebody else had gathered them, who is about to report the end (wall seconds).
    """

    outputs: dict[str, Any] | None = None
    by_others_at: float | None = None


@dataclass(frozen=True)
class _Wanted:
    """What is to be gathered. `final`: this attempt's end is the end of the run."""

    patterns: tuple[str, ...]
    record: Mapping[str, Any]
    home_node: str
    final: bool


def asks(fields: Mapping[str, str]) -> bool:
    """Say whether a run may ask for outputs; cheap, as most do not."""
    return '"outputs":' in fields.get("spec", "")


def gather_at_last(me: ThisNode, ledger: Ledger, token: Token, attempt: Attempt) -> dict[str, Any] | None:
    """Gather, or wait until somebody else has; return what the result says. Raises FleetUnreachable: come again."""
    pause = Event()
    while True:
        gathered = gather(me, ledger, token, attempt)
        if gathered is not None:
            return gathered.outputs
        pause.wait(LOOK_EVERY_S)


def gather(me: ThisNode, ledger: Ledger, token: Token, attempt: Attempt) -> Gathered | None:
    """Gather what can be gathered; None while somebody else is at it. Raises FleetUnreachable: come again.

    Safe to repeat: what was done is not done again.
    """
    wanted = _wanted(attempt, me.name)
    if wanted is None:
        return Gathered()
    if kept := _kept(attempt):
        return kept
    try:
        work = AtWork.begin(attempt)
    except OSError as error:  # not even a lock has room
        return given_up(me, attempt, f"they could not be collected: {error.strerror}")
    if work is None:
        return given_up(me, attempt, "who collects them stands still") if _stands_still(attempt) else None
    with work:
        return _kept(attempt) or Gathered(_gather(me, ledger, token, attempt, wanted, work))


def _kept(attempt: Attempt) -> Gathered | None:
    """Return what was gathered before."""
    path = f"{attempt.path}/{DONE}"
    kept = read_json(path)
    return Gathered(kept, os.stat(path).st_mtime) if kept is not None else None  # noqa: PTH116


def _stands_still(attempt: Attempt) -> bool:
    """Say whether somebody has the lock and does nothing with it."""
    if silent_s(attempt, time.time()) <= STUCK_AFTER_S:
        return False
    Event().wait(LOOK_AGAIN_AFTER_S)
    free = AtWork.begin(attempt)
    if free is None:
        return silent_s(attempt, time.time()) > STUCK_AFTER_S
    with free:
        return False


def given_up(me: ThisNode, attempt: Attempt, why: str) -> Gathered:
    """Return what a result says when they cannot be had: the run ends all the same."""
    wanted = _wanted(attempt, me.name)
    nothing = {"node": me.name, "files": [], "missing": [], "left_out": [], "error": why}
    home_node = wanted.home_node if wanted else me.name
    return Gathered(told(nothing, home=home_node, folder="", brought=False, error=None))


def _wanted(attempt: Attempt, here: str) -> _Wanted | None:
    """Return what is wanted of an attempt that has ended: nothing if its command never started, or goes again."""
    record, exit_record = attempt.record(), attempt.exit_record()
    fields: dict[str, str] = (record or {}).get("fields") or {}
    if not record or not exit_record or not asks(fields) or exit_record.get("started_at") is None:
        return None
    spec = RunSpec.recorded(fields["spec"])
    counts = {name: int(fields.get(name) or 0) for name in ("retries_used", "lost", "unstarted")}
    end = outcome.ending(exit_record, spec, counts)
    if not spec.outputs or end.lost:
        return None
    return _Wanted(spec.outputs, record, fields.get("home_node") or here, end.retry_in_s is None)


def _gather(
    me: ThisNode, ledger: Ledger, token: Token, attempt: Attempt, wanted: _Wanted, work: AtWork
) -> dict[str, Any]:
    roots = roots_of(attempt, dict(wanted.record), me.home.projects)
    listed = collect(attempt, wanted.patterns, roots, me.name, work)
    if wanted.home_node == me.name:
        outputs = _put_here(me, token, attempt, listed)
    else:
        outputs = _Sent(me, ledger, token, attempt, wanted, listed, work).outputs()
    try:
        write_json(attempt.path, DONE, outputs)
    except OSError:
        return outputs  # a full disk: it is said once, and found out again if need be
    return outputs


def _put_here(me: ThisNode, token: Token, attempt: Attempt, listed: Listed) -> dict[str, Any]:
    place, error = shelf.folder_of(me.home, token.run), None
    try:
        shelf.place(me.home, token.run, attempt.folder / FOLDER, listed)
    except OSError as refused:
        error = f"they could not be put into their place: {refused.strerror or refused}"
    return told(listed, home=me.name, folder=os.fspath(place), brought=error is None, error=error)


class _Sent:
    """Outputs whose home is another node: that one fetches them, and says how far it is."""

    def __init__(
        self,
        me: ThisNode,
        ledger: Ledger,
        token: Token,
        attempt: Attempt,
        wanted: _Wanted,
        listed: Listed,
        work: AtWork,
    ) -> None:
        self._me = me
        self._ledger = ledger
        self._token = token
        self._attempt = attempt
        self._wanted = wanted
        self._listed = listed
        self._work = work

    def outputs(self) -> dict[str, Any]:
        """Ask the home, wait for it as long as it gets on, and return what the result says."""
        home = self._wanted.home_node
        self._ledger.bringing.ask(home, self._token.run, self._token.attempt, self._me.name)
        said = self._waited()
        if said.get("said") == HERE:
            return told(self._listed, home=home, folder=said["folder"], brought=True, error=None)
        error = said.get("error") or f"node {home} has not fetched them yet"
        return told(self._listed, home=home, folder=self._their_place(), brought=False, error=error)

    def _waited(self) -> dict[str, Any]:
        """Return what the home said last."""
        pause, pause_s = Event(), LOOK_EVERY_S
        said: dict[str, Any] = {}
        until = time.monotonic() + HOME_PATIENCE_S
        while True:
            news = self._said()
            if news.get("said") in {HERE, FAILED}:
                return news
            if news != said:
                said, until = news, time.monotonic() + HOME_PATIENCE_S
            if time.monotonic() > until or not self._is_worth_waiting(said):
                return {"error": f"node {self._wanted.home_node} has not fetched them in time; it does when it can"}
            self._work.beat()
            pause.wait(pause_s)
            pause_s = min(pause_s * 1.3, LOOK_AT_MOST_EVERY_S)

    def _said(self) -> dict[str, Any]:
        """Return what the home said of our outputs: another node may have had an attempt of the same number."""
        said = self._ledger.bringing.said(self._token.run, self._token.attempt)
        return said if said.get("node", self._me.name) == self._me.name else {}

    def _is_worth_waiting(self, said: Mapping[str, Any]) -> bool:
        """A retry needs no outputs of what went before, a node that stops has no time, a home that is down is late.

        Gigabytes may take hours: a cancel that comes meanwhile ends the wait.
        """
        if not self._wanted.final or (self._me.home.root / "stopping.json").exists() or self._was_cancelled_since():
            return False
        return bool(said) or self._ledger.nodes.reachable(self._wanted.home_node)

    def _was_cancelled_since(self) -> bool:
        """Say whether somebody ordered an end after the command had its own."""
        ended = (self._attempt.exit_record() or {}).get("outcome")
        return bool(self._attempt.orders().get("stop")) and ended != "cancelled"

    def _their_place(self) -> str:
        node = self._me.fleet.nodes.get(self._wanted.home_node)
        return f"{node.root}/runs/{self._token.run}/{shelf.NAME}" if node else ""
