"""Gives up, by hand, a run whose node is silent: nobody else may, since only that node knows what became of it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from infra_tasks.errors import BadInput, SafeMode, UnknownRun
from infra_tasks.ledger.ending import end_of
from infra_tasks.ledger.nodes import SILENT_AFTER_S, Nodes
from infra_tasks.model.run import Reason, State

if TYPE_CHECKING:
    from infra_tasks.ledger.records import Run
    from infra_tasks.ledger.runs import Runs
    from infra_tasks.ledger.scripts import Scripts

LOOK_AGAIN_S = 0.5
# A ledger that nobody has asked for long counts the silence of its nodes from the first call on.
LONGEST_LOOK_S = SILENT_AFTER_S + 15.0


class Abandoning:
    """Gives up runs of silent nodes."""

    def __init__(self, scripts: Scripts, runs: Runs) -> None:
        self._scripts = scripts
        self._runs = runs
        self._nodes = Nodes(scripts)

    def abandon(self, run_id: str, *, actor: str, within_s: float = LONGEST_LOOK_S) -> tuple[str, bool]:
        """End a run as FAILURE (node_lost); return its state, and whether it was this call that ended it.

        Its node, should it come back, kills what is left of it. Raises UnknownRun, SafeMode; BadInput when its node
        speaks or no node has it.
        """
        nonce, deadline = uuid4().hex, time.monotonic() + within_s
        while True:
            run = self._runs.get(run_id)
            if run is None:
                raise UnknownRun(f"no run has the id {run_id!r}")
            said = self._ask(run, actor, nonce)
            if said["said"] == "final":
                return str(said["state"]), bool(said["new"])
            self._check(run, said, is_late=time.monotonic() > deadline)
            time.sleep(LOOK_AGAIN_S)

    def _ask(self, run: Run, actor: str, nonce: str) -> dict[str, Any]:
        silent_s = self._nodes.one(run.claim_node).silent_s if run.claim_node else 0.0
        cause = f"given up by {actor}: {run.claim_node} had been silent for {silent_s:.0f} s"
        end = end_of(run, State.FAILURE, Reason.NODE_LOST, cause, time.time())
        return dict(self._scripts.call("abandon", actor=actor, nonce=nonce, silent_after_s=SILENT_AFTER_S, **end))

    def _check(self, run: Run, said: dict[str, Any], *, is_late: bool) -> None:
        """Raise what speaks against it, unless that may pass."""
        if said["said"] == "unknown":
            raise UnknownRun(f"no run has the id {run.id!r}")
        if said["said"] == "waiting":
            raise BadInput(
                f"run {run.id} is {said['state']}: no node has it now, so nothing need be given up; "
                f"`infra cancel {run.id}` ends it"
            )
        if said["said"] == "speaks" and (is_late or self._nodes.one(said["node"]).reachable):
            raise BadInput(
                f"run {run.id} is {said['state']} on {said['node']}, which spoke {said['silent_s']:.0f} s ago: only a "
                f"node that is silent can be given up; `infra cancel {run.id}` stops the run there"
            )
        if is_late:
            raise SafeMode("the ledger is in safe mode (its Redis came back with other data); try again in a minute")
