"""What is handed to the script that accepts runs: a spec, its fingerprint, and what Celery wants behind it."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from infra_tasks.model import outcome
from infra_tasks.model.hint import OUTER_BELT_S, RUN_TASK, arguments_shown, envelope
from infra_tasks.model.run import Reason
from infra_tasks.routing import dispatch_queue, pool_queue, queue_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from infra_tasks.model.spec import RunSpec

# Runs and bytes per script call of a bulk submit: few enough not to hold up the others, enough for few round trips.
BULK = 250
BULK_BYTES = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Submission:
    """One spec on its way into the ledger, with what Celery wants to happen behind it."""

    id: str
    spec: RunSpec
    source_node: str | None = None  # the node that has the project's source
    home_node: str | None = None  # the node it was submitted on: where its outputs are wanted
    embed: dict[str, Any] | None = None  # callbacks, errbacks, chain, chord
    headers: dict[str, Any] | None = None  # group, root_id, parent_id ...
    delay_s: float | None = None
    at: float | None = None
    expires_s: float | None = None
    retry_of: str | None = None
    schedule: str | None = None  # it is for a slot of this schedule, or was asked for by hand
    slot: str | None = None
    actor: str = "submit"
    reply_to: str = ""
    fingerprint: str | None = None  # of what was asked for, before the fleet's own limits were filled in
    text: str = ""  # the spec as it is recorded; made from it where nobody has it yet
    pinned_by_fleet: bool = False  # its node is the only one that could take it, and nobody asked for that node

    @property
    def canvas(self) -> bool:
        """Something follows this run: its end must be carried on by Celery's tracer."""
        return bool((self.embed and any(self.embed.values())) or (self.headers and self.headers.get("group")))

    @property
    def plain(self) -> bool:
        """Its hint holds nothing of its own."""
        return not (self.embed or self.headers or self.reply_to)


def fingerprint(text: str) -> str:
    """Return what tells two specs apart: by it the same id or idempotency key is known to mean the same."""
    return sha256(text.encode()).hexdigest()[:32]


def shown(spec: RunSpec) -> str:
    """Return what Flower prints as arguments: no command, no environment, no secrets."""
    return arguments_shown(spec.name, spec.project, spec.node)


def script_args(one: Submission) -> dict[str, Any]:
    """Return a submission as `submit.lua` takes it; what is not said is absent."""
    spec, text = one.spec, one.text or one.spec.to_json()
    said = {
        "id": one.id,
        "spec": text,
        "print": one.fingerprint or fingerprint(text),
        "queue": queue_of(spec.node, spec.labels),
        "shown": shown(spec),
        "hint": None if one.plain else _hint(one),
        "canvas": "1" if one.canvas else None,
        "node": spec.node,
        "project": spec.project,
        "name": spec.name,
        "most_named": spec.max_running,
        "labels": "[" + ",".join(f'"{label}"' for label in sorted(spec.labels)) + "]" if spec.labels else None,
        "timeout_s": spec.timeout_s,
        "lost_after_s": spec.lost_after_s,
        "rerun_lost": "1" if Reason.NODE_LOST in spec.retry_on else "0",
        "dispatch_queue": dispatch_queue(one.source_node or "") if spec.project else None,
        "delay_s": one.delay_s,
        "at": one.at,
        "expires_s": one.expires_s if one.expires_s is not None else spec.expires_s,
        "idem": spec.idempotency_key,
        "retry_of": one.retry_of,
        "root": one.headers.get("root_id") if one.headers and spec.project else None,
        "home_node": _home_of(one),
        "pool": pool_queue(spec.labels) if one.pinned_by_fleet else None,
        "schedule": one.schedule,
        "slot": one.slot,
        "actor": one.actor,
        "meta_key": outcome.META_PREFIX + one.id,
    }
    return {key: value for key, value in said.items() if value is not None}


def parts(many: Sequence[Submission]) -> Iterator[tuple[Sequence[Submission], list[dict[str, Any]]]]:
    """Return the submissions in parts that fit into one script call each, with what the script takes."""
    first, size = 0, 0
    args: list[dict[str, Any]] = []
    for index, one in enumerate(many):
        arg = script_args(one)
        more = len(arg["spec"]) + len(arg.get("hint", ""))
        if args and (len(args) == BULK or size + more > BULK_BYTES):
            yield many[first:index], args
            first, size, args = index, 0, []
        args.append(arg)
        size += more
    if args:
        yield many[first:], args


def _home_of(one: Submission) -> str | None:
    """Return where the outputs of a run, or of what follows it, are wanted; most runs need not know."""
    if one.spec.outputs:
        return one.home_node or one.source_node
    return one.home_node if one.canvas else None


def _hint(one: Submission) -> str:
    return envelope(
        RUN_TASK,
        one.id,
        shown=shown(one.spec),
        limit_s=OUTER_BELT_S,
        embed=one.embed,
        headers=one.headers,
        reply_to=one.reply_to,
    )
