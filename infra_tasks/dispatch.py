"""Dispatch: on the node that has the source, bring the code where the run will be, then put the run into its queue.

The digest is fixed at the first dispatch: all attempts of a run, and all steps of a canvas, see the same code. A node
that cannot be reached over ssh does not hold a run up: this node keeps the release, and the other one fetches it when
it takes the run.
"""

from __future__ import annotations

import logging
from contextlib import suppress
from threading import Event, Thread
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from infra_tasks.deploy import Deployed, at_home, deploy_task_to_node
from infra_tasks.errors import FleetUnreachable, NodeUnreachable, ReleaseError
from infra_tasks.ledger.code import SyncEntry
from infra_tasks.model.run import Reason, retry_delay_s
from infra_tasks.model.setup_rules import SetupRules
from infra_tasks.model.spec import RunSpec
from infra_tasks.model.weight import heavy_words, weight_of
from infra_tasks.releases.layout import Shelf
from infra_tasks.releases.remote.lines import lines_of
from infra_tasks.releases.snapshot import recall
from infra_tasks.suppliers import source_here

if TYPE_CHECKING:
    from infra_tasks import releases
    from infra_tasks.ledger import Ledger
    from infra_tasks.node import ThisNode

RENEW_EVERY_S = 10.0

log = logging.getLogger(__name__)


class Ready(NamedTuple):
    """The code of a run is where it can be taken from: on `node`, or (`waits`) here for the node to fetch."""

    project: str
    node: str
    digest: str
    deployed: Deployed | None
    words: str


class Dispatched(NamedTuple):
    """What a dispatcher did with a run; `ready` if it was queued."""

    said: str
    ready: Ready | None = None

    @property
    def is_new_code(self) -> bool:
        """Say whether code was brought to the node that will run it."""
        return bool(self.ready and self.ready.deployed and self.ready.deployed.brought)


def dispatch(me: ThisNode, ledger: Ledger, run_id: str) -> Dispatched:
    """Bring a run's code and queue it. Returns what was done; a run that is nobody's business is left alone."""
    turn = _Turn(me, ledger, run_id)
    begun = turn.move("begin")
    if begun["said"] != "ok":
        return Dispatched(f"left alone: {begun.get('state') or 'unknown'}")
    spec, project = RunSpec.recorded(begun["spec"]), begun["project"]
    try:
        with turn:
            ready, said = _bring_and_queue(turn, me, ledger, spec, begun["release"])
            if said["said"] == "fixed":
                ready, said = _bring_and_queue(turn, me, ledger, spec, said["release"])
    except ReleaseError as error:
        _note_failure(me, ledger, project, spec, str(error))
        return Dispatched(turn.give_up(spec, int(begun.get("retries_used") or 0), str(error)))
    if said["said"] != "ok":
        return Dispatched("left alone: not ours any more")
    _afterwards(me, ledger, project, ready)
    return Dispatched(f"queued, {ready.words}", ready)


def _bring_and_queue(
    turn: _Turn, me: ThisNode, ledger: Ledger, spec: RunSpec, fixed: str
) -> tuple[Ready, dict[str, Any]]:
    project = spec.project or ""
    ready = _code_ready(turn, me, ledger, project, spec.node or me.name, fixed)
    known = me.fleet.projects.get(project)
    rules = SetupRules.of(known).to_json() if known else None
    cause = f"code ready: {ready.digest[:12]}: {ready.words}"
    return ready, turn.move("end", ready.digest, rules=rules, cause=cause)


def _code_ready(turn: _Turn, me: ThisNode, ledger: Ledger, project: str, node: str, fixed: str) -> Ready:
    """Bring the code to the node that will run it; keep it here when that node cannot be reached."""
    if node not in me.fleet.nodes:
        raise ReleaseError(f"node {node!r} is no longer in nodes.json")
    try:
        done = deploy_task_to_node(
            me,
            lines_of(me.home),
            project,
            node,
            digest=fixed or None,
            ledger=ledger if fixed else None,
            weighed=lambda weight: turn.warn(heavy_words(weight, project, node)),
        )
    except NodeUnreachable as error:
        log.warning("%s: %s", project, error)
        kept = deploy_task_to_node(
            me, lines_of(me.home), project, me.name, digest=fixed or None, ledger=ledger if fixed else None
        )
        turn.warn(_what_it_will_fetch(me, ledger, project, kept.digest, node))
        return Ready(project, node, kept.digest, None, f"{error}; {node} fetches it when it takes the run")
    return Ready(project, node, done.digest, done, done.words())


def _what_it_will_fetch(me: ThisNode, ledger: Ledger, project: str, digest: str, node: str) -> str:
    """Return what to tell a person of a node that will fetch a release itself, unless it said that it holds it."""
    manifest = recall(Shelf(me.home, project), digest)
    with suppress(FleetUnreachable):
        if manifest and node not in ledger.code.holders(project, digest):
            return heavy_words(weight_of(manifest.files()), project, node)
    return ""


def _afterwards(me: ThisNode, ledger: Ledger, project: str, ready: Ready) -> None:
    """Do what the run need not wait for: our own copy, so that others can fetch it later, and the records."""
    try:
        ledger.code.expect(project, ready.node, ready.digest)
        if ready.deployed and ready.deployed.brought:
            ledger.code.note_sync(_brought(me, project, ready.deployed, ready.deployed.brought))
    except FleetUnreachable as error:
        log.warning("sync of %s to %s is not in the log: %s", project, ready.node, error)
    source = source_here(me, project)
    if ready.node == me.name or source is None:
        return
    try:
        at_home(me, project, ready.digest, source)
    except ReleaseError as error:
        log.warning("no copy of %s %s is kept here: %s", project, ready.digest[:12], error)


def _brought(me: ThisNode, project: str, deployed: Deployed, brought: releases.Brought) -> SyncEntry:
    return SyncEntry(
        project=project,
        release=deployed.digest,
        node=deployed.node,
        why="dispatch",
        said="brought",
        source=me.name,
        files=brought.files,
        size_bytes=brought.size_bytes,
        shared_files=brought.shared_files,
        duration_s=brought.duration_s,
    )


def _note_failure(me: ThisNode, ledger: Ledger, project: str, spec: RunSpec, why: str) -> None:
    entry = SyncEntry(
        project=project,
        release="",
        node=spec.node or me.name,
        why="dispatch",
        said="failed",
        source=me.name,
        error=why,
    )
    try:
        ledger.code.note_sync(entry)
    except FleetUnreachable as error:
        log.warning("the failed sync of %s is not in the log: %s", project, error)


class _Turn:
    """One dispatcher's hold on a run, renewed while the code is on its way."""

    def __init__(self, me: ThisNode, ledger: Ledger, run_id: str) -> None:
        self._me = me
        self._ledger = ledger
        self._run_id = run_id
        # The same for every control of this node, of which only one can live: what one dies with in hand, the next one
        # goes on with at once.
        self._dispatch = me.uuid
        self._over = Event()
        self._renewer = Thread(target=self._renew, daemon=True)

    def move(self, move: str, release: str = "", **more: Any) -> dict[str, Any]:
        actor = f"dispatch {self._me.name}"
        return self._ledger.claims.dispatch(
            move, self._run_id, self._dispatch, node=self._me.name, actor=actor, release=release, **more
        )

    def warn(self, warning: str) -> None:
        """Tell the person who wants the run, if there is anything to tell; a ledger that is away hinders nothing."""
        if warning:
            log.warning("%s", warning)
            with suppress(FleetUnreachable):
                self.move("warn", warning=warning)

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
