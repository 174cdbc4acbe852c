"""The agent role: the node's voice to the ledger.

Heartbeat and renewal of all leases in one call, whose answer carries the orders for the shims; reports of exits nobody
waits for; the sweep; export of what leaves the history; shipping of followed output; which releases are here; burial of
attempts whose shim is dead or frozen.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import infra_tasks
from infra_tasks import live, settings
from infra_tasks.errors import FleetUnreachable
from infra_tasks.ledger import Ledger
from infra_tasks.ledger.connect import url_of
from infra_tasks.node import NodeHere
from infra_tasks.releases.remote.launcher import write_launcher
from infra_tasks.runner.clock import boot_clock, boot_id
from infra_tasks.ship import Shipper
from infra_tasks.sweep import sweep
from workers.archiving import Archiving
from workers.holding import Holdings
from workers.keeping import Keeper
from workers.minding import Minder
from workers.orders import orders_for
from workers.presenting import Presentation
from workers.role import enter
from workers.telling import machine

if TYPE_CHECKING:
    from infra_tasks.live import LiveAttempt
    from infra_tasks.settings import Home

TURN_EVERY_S = 0.3
RENEW_EVERY_S = 1.0
SWEEP_EVERY_S = 1.0
ANSWER_WITHIN_S = 3.0

log = logging.getLogger("infra_tasks.agent")


class Agent:
    """One node's agent. `run_once` is one turn."""

    def __init__(self, home: Home) -> None:
        self._home = home
        self._here = NodeHere(home)
        self._ledger = Ledger.at(url_of(home), socket_timeout_s=ANSWER_WITHIN_S)
        self._minder = Minder(home, self._ledger, self._here.current().name)
        self._keeper = Keeper(home)
        self._shipper = Shipper(home, self._ledger)
        self._holdings = Holdings(home, self._ledger)
        self._archiving = Archiving(self._ledger)
        self._due = {"renew": 0.0, "sweep": 0.0}
        self._reachable = True
        self._is_stranger = False
        self._unheld: set[tuple[str, int, str]] = set()
        self._presentation: Presentation | None = None
        self._heard_out = False

    def run_once(self, now: float) -> None:
        """Mind the attempts of this node (needs no Redis), then talk to the ledger. `now`: monotonic seconds."""
        attempts = list(live.attempts(self._home))
        if (self._home.root / "stopping.json").exists():
            for one in attempts:
                _order(one, {"stop": "down"})
        self._minder.run_once(attempts)
        if self._heard_out:  # a ledger that has forgotten may need old ends: none is deleted before they were told
            self._keeper.run_once(now, float(self._here.current().fleet.limits.keep_runs_days))
        try:
            self._talk(attempts, now)
        except FleetUnreachable as error:
            if self._reachable:
                log.warning("the ledger does not answer: %s", error)
            self._reachable = False
        else:
            if not self._reachable:
                log.warning("the ledger answers again")
            self._reachable = True

    def _talk(self, attempts: list[LiveAttempt], now: float) -> None:
        if self._is_due("renew", now, RENEW_EVERY_S):
            self._renew(attempts)
        if self._presentation:
            self._present()
        self._minder.report_ended(attempts)
        self._shipper.turn()
        if not self._is_stranger:
            self._holdings.run_once(self._here.current().name, now)
            self._archiving.run_once(self._here.current(), now)
        if self._is_due("sweep", now, SWEEP_EVERY_S):
            sweep(self._ledger, self._here.current().name)

    def _is_due(self, what: str, now: float, every_s: float) -> bool:
        if now < self._due[what]:
            return False
        self._due[what] = now + every_s
        return True

    def _renew(self, attempts: list[LiveAttempt]) -> None:
        me, sent_at = self._here.current(), boot_clock()
        answer = self._ledger.claims.renew(
            patience_s=0,
            node=me.name,
            uuid=me.uuid,
            boot_id=boot_id(),
            slots=me.node.slots,
            labels=json.dumps(list(me.node.labels)),
            version=infra_tasks.__version__,
            info=json.dumps(machine(self._home)),
            longest_s=me.fleet.limits.lost_after_s,
            live=[one.token._asdict() for one in attempts],
            most_running=me.fleet.most_running(me.name),
        )
        self._is_stranger = answer["said"] == "stranger"
        if self._is_stranger:
            log.error("another machine is already node %s (uuid %s): nothing is run here", me.name, answer["uuid"])
            return
        for one in attempts:
            wish = answer["attempts"].get(f"{one.token.run}@{one.token.attempt}") or {}
            _order(one, orders_for(wish, one.folder.record() or {}, sent_at))
        self._heard_out = not (answer["present"] or answer["safe"])
        if answer["present"]:
            self._presentation = self._presentation or Presentation(self._ledger, me)
        elif not answer["safe"]:
            self._look_for_unheld(answer["unheld"] or [])

    def _present(self) -> None:
        """Say some more of what this node holds; what is cut off by an outage begins anew."""
        presentation, self._presentation = self._presentation, None
        if presentation and not presentation.run_once():
            self._presentation = presentation

    def _look_for_unheld(self, unheld: list[dict[str, Any]]) -> None:
        """The ledger knows of claims that this disk does not: twice in a row means that they are gone."""
        held = {one.token for one in live.attempts(self._home)}
        missing = {(one["run"], one["attempt"], one["claim"]) for one in unheld} - held
        for run, attempt, claim in missing & self._unheld:
            self._minder.lost_without_trace(live.Token(run, attempt, claim))
        self._unheld = missing


def _order(one: LiveAttempt, wanted: dict[str, Any]) -> None:
    """Change a shim's orders, if they differ from what stands there."""
    standing = one.folder.orders()
    if any(standing.get(name) != value for name, value in wanted.items()):
        try:
            one.folder.order(**wanted)
        except OSError as error:  # a full disk: the other attempts are not to wait for this one
            log.error("run %s attempt %d: it cannot be told %s: %s", one.token.run, one.token.attempt, wanted, error)  # noqa: TRY400  the reason is enough


def main() -> int:
    """Run until told to stop."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    os.environ["INFRA_ROLE"] = "agent"
    pulse, over = enter("agent"), threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: over.set())
    agent = Agent(settings.home())
    write_launcher(settings.home())
    while not over.is_set():
        pulse.beat()
        try:
            agent.run_once(time.monotonic())
        except Exception:
            log.exception("a turn of the agent failed; the next one follows")
        over.wait(TURN_EVERY_S)
    return 0


if __name__ == "__main__":
    sys.exit(main())
