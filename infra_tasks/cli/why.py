"""Why a run is where it is: what it waits for, or where it went. A decision on what was seen at one moment. Pure."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from infra_tasks.cli import spans
from infra_tasks.cli.path_text import path_text
from infra_tasks.cli.printing import clock_time
from infra_tasks.cli.run_view import ending_words, short
from infra_tasks.cli.why_queued import in_line, queued
from infra_tasks.cli.why_reason import Reason, silence, trouble_with
from infra_tasks.model.facts import shown_state
from infra_tasks.model.run import Reason as EndReason
from infra_tasks.model.run import State

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from infra_tasks.cli.nodes_view import NodeView
    from infra_tasks.ledger.lines import Line
    from infra_tasks.ledger.records import Event, Run

DISPATCHED_ON = "dispatched on "  # as dispatch.lua notes it


@dataclass(frozen=True)
class Scene:
    """A run and what is around it. `now`: wall seconds. `holders`: what the runs in a node's slots are called.

    `safe_mode`: the nodes it waits for, None when it is off. `line`: the one it stands in; `running`: what those are
    called that have the places there.
    """

    run: Run
    events: Sequence[Event]
    now: float
    nodes: Mapping[str, NodeView]
    holders: Mapping[str, Sequence[str]]
    safe_mode: Sequence[str] | None = None
    line: Line | None = None
    running: Sequence[str] = ()

    @property
    def last_move(self) -> Event | None:
        """How it came into its state."""
        moves = [event for event in self.events if event.from_state != event.to_state]
        return moves[-1] if moves else None

    @property
    def since_s(self) -> float:
        """How long the run has been in its state."""
        return max(0.0, self.now - self.last_move.at) if self.last_move else 0.0

    @property
    def last_cause(self) -> str:
        """Why it came into its state."""
        return path_text(self.last_move.cause or "") if self.last_move else ""


def why(scene: Scene) -> list[Reason]:
    """Return the reasons, the one that counts first; never none."""
    state = State(scene.run.state)
    if scene.run.final:
        return [_ended(scene)]
    if scene.safe_mode is not None and state not in {State.STARTED, State.SYNCING}:
        return [_safe(scene.safe_mode)]
    decide: Mapping[State, Callable[[Scene], list[Reason]]] = {
        State.PENDING: _pending,
        State.SYNCING: _syncing,
        State.QUEUED: _queued,
        State.STARTED: _started,
        State.RETRY: _retry,
    }
    return [*decide[state](scene), *_expiry(scene)]


def as_json(scene: Scene, reasons: Sequence[Reason]) -> dict[str, Any]:
    """Return what `infra why --json` prints."""
    silent_names = {node.name for node in scene.nodes.values() if not node.is_up}
    return {
        "run": scene.run.id,
        "state": shown_state(scene.run, silent_names),
        "said": sentence(scene.run, reasons),
        "reasons": [asdict(reason) for reason in reasons],
    }


def sentence(run: Run, reasons: Sequence[Reason]) -> str:
    """Return one sentence for a person."""
    name = f" ({path_text(run.name)})" if run.name else ""
    return f"run {short(run.id)}{name} {'; '.join(reason.said for reason in reasons)}"


def archived(node: str | None, file: Path) -> Reason:
    """Return where the record of a run is that has left the history. `node`: the one whose archive it is."""
    return Reason("archived", f"has left the history: the archive of {node or 'this node'} has it, {file}", node)


def _ended(scene: Scene) -> Reason:
    run, result = scene.run, scene.run.result or {}
    ago = f"{spans.words(scene.now - (run.at('ended_at') or scene.now))} ago"
    where = f" on {run.claim_node}" if run.claim_node else " before it started"
    attempts = f" in attempt {run.attempt}" if run.attempt > 1 else ""
    if run.state == State.REVOKED:
        return Reason("cancelled", f"was cancelled{_asked_by(scene)}{where}, {ago}", run.claim_node or None)
    if run.state == State.SUCCESS:
        took_s = result.get("duration_s")
        took = f" after {spans.words(took_s)}" if took_s is not None else ""
        return Reason("succeeded", f"succeeded{where}{attempts}{took}, {ago}", run.claim_node or None)
    how = path_text(ending_words({**result, "state": run.state, "reason": run.reason}, run.fields.get("cause")))
    if run.reason == EndReason.TIMEOUT:
        how = f"it reached its limit of {spans.words(run.timeout_s)}"
    return Reason(run.reason or "failed", f"failed{where}{attempts}, {ago}: {how}", run.claim_node or None)


def _asked_by(scene: Scene) -> str:
    asked = [event for event in scene.events if event.cause in {"cancel asked", "kill asked", "cancelled"}]
    return f" by {path_text(asked[0].actor)}" if asked else ""


def _safe(waits_for: Sequence[str]) -> Reason:
    whom = " and ".join(name for name in waits_for if name != "*") or "a node"
    return Reason(
        "safe_mode", f"waits: Redis came back with other data, and nothing is placed until {whom} said what runs there"
    )


def _pending(scene: Scene) -> list[Reason]:
    run = scene.run
    left_s = (run.at("not_before") or 0) - scene.now
    queue = run.fields.get("dispatch_queue", "")
    if left_s > 0 and scene.last_move and scene.last_move.from_state == State.SYNCING:
        return [
            Reason("bringing_again", f"waits {spans.words(left_s)} to have its code brought again: {scene.last_cause}")
        ]
    if left_s > 0:
        return [
            Reason("not_before", f"waits for its moment, {clock_time(run.at('not_before'))} (in {spans.words(left_s)})")
        ]
    if not queue:
        return [_moment_has_come(scene)]
    return [_undispatched(scene, queue.removeprefix("dispatch."))]


def _moment_has_come(scene: Scene) -> Reason:
    if any(node.is_up for node in scene.nodes.values()):
        return Reason("moment_has_come", "is about to go on: its moment has come")
    return Reason("nobody_speaks", "waits: its moment has come, but no node speaks that could move it on")


def _undispatched(scene: Scene, name: str) -> Reason:
    project = path_text(scene.run.project)
    trouble = trouble_with(scene.nodes.get(name), name, role="control")
    if trouble:
        return Reason(trouble.kind, f"waits for the code of {project}, which is on {name}: {trouble.said}", name)
    so_far = spans.words(scene.since_s)
    return Reason("to_dispatch", f"waits for {name} to bring the code of {project}, for {so_far} so far", name)


def _syncing(scene: Scene) -> list[Reason]:
    run, so_far = scene.run, f"for {spans.words(scene.since_s)} so far"
    if run.fields.get("dispatch"):
        name = scene.last_cause.removeprefix(DISPATCHED_ON)
        if mute := silence(scene.nodes.get(name)):
            said = f"had its code brought by {name}, which {mute}: when its word has lapsed, another try follows"
            return [Reason("node_silent", said, name)]
        return [Reason("bringing", f"has its code brought by {name}, {so_far}", name)]
    name = run.claim_node
    if mute := silence(scene.nodes.get(name)):
        return [Reason("node_silent", f"had its code made ready by {name}, which {mute}{_if_lost(run)}", name)]
    return [Reason("making_ready", f"was taken by {name}, which makes its code ready, {so_far}", name)]


def _queued(scene: Scene) -> list[Reason]:
    run = scene.run
    declined = json.loads(run.fields.get("declined") or "{}")
    found = queued(
        run.node,
        sorted(run.spec.labels),
        nodes=scene.nodes,
        holders=scene.holders,
        since_s=scene.since_s,
        declined={name: each["version"] for name, each in declined.items()},
    )
    if scene.line and found[0].kind == "free_slot":
        found.clear()
    if scene.line:
        at = 0 if scene.line.kind != "lane" else len(found)
        found.insert(at, in_line(scene.line, scene.running))
    if run.attempt:
        found.append(Reason("attempt_lost", f"attempt {run.attempt} came to nothing: {scene.last_cause}"))
    return found


def _retry(scene: Scene) -> list[Reason]:
    run = scene.run
    left_s = (run.at("not_before") or 0) - scene.now
    when = f"in {spans.words(left_s)}" if left_s > 0 else "due now"
    return [Reason("retry", f"waits for its next attempt, {when}: attempt {run.attempt} ended with {scene.last_cause}")]


def _started(scene: Scene) -> list[Reason]:
    run, name = scene.run, scene.run.claim_node
    attempt = f" (attempt {run.attempt})" if run.attempt > 1 else ""
    if mute := silence(scene.nodes.get(name)):
        return [Reason("node_silent", f"was running on {name}{attempt}, which {mute}{_if_lost(run)}", name)]
    if run.cancel:
        return [Reason("stopping", f"is being stopped on {name}{_asked_by(scene)}{attempt}", name)]
    so_far = f"for {spans.words(scene.since_s)} of {spans.words(run.timeout_s)} at most"
    return [Reason("running", f"runs on {name}{attempt}, {so_far}", name)]


def _if_lost(run: Run) -> str:
    """Return what comes of an attempt whose node does not speak any more."""
    if run.node:
        return (
            ": only that node can say what became of it, and is waited for "
            f"(`infra abandon {short(run.id)}` gives the run up)"
        )
    if run.fields.get("rerun_lost") == "0":
        return ": when its lease has ended, the run has failed (node_lost)"
    return ": when its lease has ended, another node takes it"


def _expiry(scene: Scene) -> list[Reason]:
    run, expires_s = scene.run, scene.run.spec.expires_s
    if expires_s is None or run.state not in {State.PENDING, State.QUEUED, State.RETRY}:
        return []
    left_s = max(0.0, (run.at("submitted_at") or 0) + expires_s - scene.now)
    return [Reason("expires", f"it expires in {spans.words(left_s)}")]
