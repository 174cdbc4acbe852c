"""Minds the attempts of this node that nobody else minds: ended ones are reported, dead and frozen ones are buried."""

from __future__ import annotations

import logging
import os
import time
from concurrent.futures import ThreadPoolExecutor
from enum import Enum
from typing import TYPE_CHECKING, Any

from infra_tasks import live
from infra_tasks.errors import InfraError
from infra_tasks.model.outcome import unstarted
from infra_tasks.node import NodeHere
from infra_tasks.report import report
from infra_tasks.runner import cell, exitrecord
from infra_tasks.runner.attempt import Attempt
from infra_tasks.runner.clock import boot_clock, boot_id
from infra_tasks.runner.tree import kill_leftovers, kill_shim
from workers.gathering import Gatherer

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from infra_tasks.ledger import Ledger
    from infra_tasks.live import LiveAttempt, Token
    from infra_tasks.settings import Home

# A worker child that waits reports an exit at once; what still stands after this long, nobody waits for.
REPORT_AFTER_S = 1.0
# A shim acts on its limits and orders by itself; this long after the moment everything must be dead, it is frozen.
FROZEN_AFTER_S = 15.0
BURY_GRACE_S = 1.0
BURIALS_AT_ONCE = 4

log = logging.getLogger("infra_tasks.agent")


class Duty(Enum):
    """What an attempt needs from the agent."""

    NOTHING = "nothing"
    REPORT = "report"
    BURY = "bury"
    KILL_SHIM = "kill shim"


def duty(*, locked: bool, ended: bool, overdue: bool) -> Duty:
    """Decide. `overdue`: the moment when everything must be dead is long past."""
    if locked:
        return Duty.KILL_SHIM if overdue else Duty.NOTHING
    return Duty.REPORT if ended else Duty.BURY


def dead_by(
    record: Mapping[str, Any], started: Mapping[str, Any], orders: Mapping[str, Any], ordered_at: float | None
) -> float:
    """Return the moment (boot clock) at which a shim that lives has ended everything. `ordered_at`: first seen stop."""
    limit = orders.get("timeout_s") or record["timeout_s"]
    moments = [started["started_boot"] + limit]
    moments += [at for at in (orders.get("stop_at") or record.get("stop_at"), ordered_at) if at is not None]
    return float(min(moments) + record["grace_s"])


class Minder:
    """Looks at every live attempt in each turn."""

    def __init__(self, home: Home, ledger: Ledger, node: str) -> None:
        self._home = home
        self._ledger = ledger
        self._node = node
        self._ended_since: dict[Token, float] = {}
        self._ordered_at: dict[Token, float] = {}
        self._burying: set[Token] = set()
        self._graves = ThreadPoolExecutor(BURIALS_AT_ONCE, "bury")
        self._gatherer = Gatherer(NodeHere(home).current, ledger)

    def run_once(self, attempts: Iterable[LiveAttempt]) -> None:
        """Bury the dead and kill frozen shims. Needs no Redis."""
        attempts = list(attempts)
        known = {one.token for one in attempts}
        self._ended_since = {token: at for token, at in self._ended_since.items() if token in known}
        self._ordered_at = {token: at for token, at in self._ordered_at.items() if token in known}
        self._gatherer.keep(known)
        for one in attempts:
            self._mind(one)

    def report_ended(self, attempts: Iterable[LiveAttempt]) -> None:
        """Report the ends that nobody else reports. Raises FleetUnreachable."""
        for one in attempts:
            since = self._ended_since.get(one.token)
            if since is None or time.monotonic() - since < REPORT_AFTER_S:
                continue
            gathered = self._gatherer.gathered(one)
            if gathered is not None:
                answer = report(
                    self._home,
                    self._ledger,
                    one.token,
                    one.folder,
                    actor=f"agent {self._node}",
                    waited_for=False,
                    outputs=gathered.outputs,
                )
                log.info("run %s attempt %d reported: %s", one.token.run, one.token.attempt, answer["said"])

    def _mind(self, one: LiveAttempt) -> None:
        locked = one.folder.is_locked()
        ended = not locked and one.folder.exit_record() is not None
        wanted = duty(locked=locked, ended=ended, overdue=locked and self._is_overdue(one))
        if wanted is Duty.REPORT:
            self._ended_since.setdefault(one.token, time.monotonic())
        elif wanted is Duty.KILL_SHIM:
            started = one.folder.started()
            if started and kill_shim(started):
                log.error("run %s attempt %d: its shim is frozen; killed", one.token.run, one.token.attempt)
        elif wanted is Duty.BURY and one.token not in self._burying:
            self._burying.add(one.token)
            self._graves.submit(self._bury, one)

    def _is_overdue(self, one: LiveAttempt) -> bool:
        record, started, orders = one.folder.record(), one.folder.started(), one.folder.orders()
        if not record or not started or started.get("boot_id") != boot_id():
            return False
        if orders.get("stop"):
            self._ordered_at.setdefault(one.token, boot_clock())
        return boot_clock() > dead_by(record, started, orders, self._ordered_at.get(one.token)) + FROZEN_AFTER_S

    def _bury(self, one: LiveAttempt) -> None:
        """Call an attempt dead: holding its lock, tombstone first, then kill what is left of it, then its end."""
        try:
            self._bury_locked(one)
        except Exception:
            log.exception("run %s attempt %d could not be buried; tried again", one.token.run, one.token.attempt)
        finally:
            self._burying.discard(one.token)

    def _bury_locked(self, one: LiveAttempt) -> None:
        lock = one.folder.take_lock()
        if lock is None:
            return
        try:
            if one.folder.exit_record() is not None or not live.is_noted(self._home, one.token):
                return
            one.folder.bury("nobody minds it")
            exitrecord.write_exit(one.folder.path, self._end_of(one))
        finally:
            os.close(lock)

    def _end_of(self, one: LiveAttempt) -> dict[str, Any]:
        record, started = one.folder.record() or {}, one.folder.started()
        end = unstarted({**one.token._asdict(), "boot_id": boot_id()}, "lost", "its worker died", now=time.time())
        if not record or not started:
            return end
        if started.get("boot_id") != boot_id():
            return {**end, "started_at": started["started_at"], "error": "its machine was started anew"}
        survivors = kill_leftovers(started, record["cookie"], record["mark"], grace_s=BURY_GRACE_S)
        cell.remove(record["cookie"])
        outcome, why = _outcome(record, started, one.folder.orders())
        return {
            **end,
            "outcome": outcome,
            "error": why,
            "started_at": started["started_at"],
            "duration_s": boot_clock() - started["started_boot"],
            "survivors": survivors,
        }

    def lost_without_trace(self, token: Token) -> None:
        """The ledger believes in an attempt that this disk does not know: give it a folder, a tombstone and an end."""
        attempt = Attempt(self._home.attempt(token.run, token.attempt))
        lock = attempt.take_lock()
        if lock is None:
            return
        try:
            if not attempt.exit_record():
                attempt.bury("the disk does not know it")
                end = unstarted(
                    {**token._asdict(), "boot_id": boot_id()}, "lost", "its folder is gone", now=time.time()
                )
                exitrecord.write_exit(attempt.path, {**end, "started_at": time.time()})
            live.enter(self._home, token)
        except InfraError:
            log.exception("run %s", token.run)
        finally:
            os.close(lock)


def _outcome(record: Mapping[str, Any], started: Mapping[str, Any], orders: Mapping[str, Any]) -> tuple[str, str]:
    """A shim that died past its limit, or after an order, still ends for that reason."""
    if orders.get("stop"):
        stop = str(orders["stop"])
        return {"cancel": "cancelled"}.get(stop, stop), "its shim died; ended by the agent"
    if boot_clock() >= started["started_boot"] + (orders.get("timeout_s") or record["timeout_s"]):
        return "timeout", "its shim was dead at the limit; ended by the agent"
    return "lost", "its shim died"
