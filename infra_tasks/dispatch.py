"""Dispatch: on the node that has the source, bring the code where the run will be, then put the run into its queue.

The digest is fixed at the first dispatch: all attempts of a run see the same code.
"""

from __future__ import annotations

import logging
import secrets
import time
from contextlib import suppress
from pathlib import Path
from threading import Event, Thread
from typing import TYPE_CHECKING, Any, Self

from infra_tasks import releases
from infra_tasks.errors import ReleaseBusy, ReleaseError, SourceChanging
from infra_tasks.model.run import Reason
from infra_tasks.model.setup_rules import SetupRules
from infra_tasks.model.spec import RunSpec, retry_delay_s

if TYPE_CHECKING:
    from infra_tasks.ledger import Ledger
    from infra_tasks.node import ThisNode

RENEW_EVERY_S = 10.0
# A source that is edited all the time is given up after so many tries.
SNAPSHOTS = 5
# A release that is being set up may be so for half an hour: the run's own node waits for that, not its dispatcher.
BUSY_PATIENCE_S = 3.0

log = logging.getLogger(__name__)


def dispatch(me: ThisNode, ledger: Ledger, run_id: str) -> str:
    """Bring a run's code and queue it. Returns what was done; a run that is nobody's business is left alone."""
    turn = _Turn(me, ledger, run_id)
    begun = turn.move("begin")
    if begun["said"] != "ok":
        return f"left alone: {begun.get('state') or 'unknown'}"
    try:
        with turn:
            digest = begun["release"] or deploy(me, begun["project"])
    except ReleaseError as error:
        return turn.give_up(RunSpec.from_json(begun["spec"]), int(begun.get("retries_used") or 0), str(error))
    known = me.fleet.projects.get(begun["project"])
    rules = SetupRules.of(known).to_json() if known else None
    return "queued" if turn.move("end", digest, rules=rules)["said"] == "ok" else "left alone: not ours any more"


def deploy(me: ThisNode, project: str) -> str:
    """Take a snapshot of a project and make sure this node holds it verified; return its digest.

    Somebody may save a file between the snapshot and the copy: a newer snapshot is taken then.
    """
    known = me.fleet.projects.get(project)
    if known is None:
        raise ReleaseError(f"project {project!r} is no longer in nodes.json")
    source = releases.Source(Path(known.source).expanduser(), tuple(known.exclude))
    for _ in range(SNAPSHOTS - 1):
        with suppress(SourceChanging):
            return _brought(me, project, source)
    return _brought(me, project, source)


def _brought(me: ThisNode, project: str, source: releases.Source) -> str:
    taken = releases.snapshot(me.home, project, source)
    patience = time.monotonic() + BUSY_PATIENCE_S
    with suppress(ReleaseBusy):
        releases.ensure_release(
            me.home, project, taken.digest, source=source, wanted=lambda: time.monotonic() < patience
        )
    return taken.digest


class _Turn:
    """One dispatcher's hold on a run, renewed while the code is on its way."""

    def __init__(self, me: ThisNode, ledger: Ledger, run_id: str) -> None:
        self._me = me
        self._ledger = ledger
        self._run_id = run_id
        self._dispatch = secrets.token_hex(8)
        self._over = Event()
        self._renewer = Thread(target=self._renew, daemon=True)

    def move(self, move: str, release: str = "", **more: Any) -> dict[str, Any]:
        actor = f"dispatch {self._me.name}"
        return self._ledger.claims.dispatch(
            move, self._run_id, self._dispatch, node=self._me.name, actor=actor, release=release, **more
        )

    def give_up(self, spec: RunSpec, retries_used: int, why: str) -> str:
        """The code could not be brought: another try later, or the end of the run, if it is still ours."""
        if Reason.SYNC_FAILED in spec.retry_on and retries_used < spec.retries:
            self.move("later", retry_in_s=retry_delay_s(spec.retry_backoff_s, retries_used), cause=why)
            return f"sync failed, tried again later: {why}"
        actor = f"dispatch {self._me.name}"
        self._ledger.runs.fail_waiting(self._run_id, Reason.SYNC_FAILED, why, actor, dispatch=self._dispatch)
        return f"sync failed: {why}"

    def __enter__(self) -> Self:
        self._renewer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._renewer.join()

    def _renew(self) -> None:
        while not self._over.wait(RENEW_EVERY_S):
            try:
                self.move("renew")
            except Exception:
                log.exception("dispatch of run %s could not be renewed", self._run_id)
