"""Runs as their users see them: submit, look, cancel, extend."""

from __future__ import annotations

import time
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from infra_tasks.errors import BadInput, FleetUnreachable, IdempotencyConflict, SafeMode, SubmitUnknown, UnknownRun
from infra_tasks.ledger.records import Event, Run
from infra_tasks.model import outcome
from infra_tasks.model.hint import DISPATCH_TASK, OUTER_BELT_S, RUN_TASK, envelope
from infra_tasks.model.run import Reason, State
from infra_tasks.routing import dispatch_queue, queue_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from infra_tasks.ledger.scripts import Scripts
    from infra_tasks.model.spec import RunSpec

# A dispatch hint that nobody took after this long is pushed again (seconds).
DISPATCH_PATIENCE_S = 15.0
# Runs per script call of a bulk submit: small enough not to hold up the others, few enough round trips.
BULK = 200
SAFE_MODE_PATIENCE_S = 20.0
LOOK_AGAIN_S = 0.1


@dataclass(frozen=True)
class Submission:
    """One spec on its way into the ledger, with what Celery wants to happen behind it."""

    id: str
    spec: RunSpec
    source_node: str | None = None  # the node that has the project's source
    embed: dict[str, Any] | None = None  # callbacks, errbacks, chain, chord
    headers: dict[str, Any] | None = None  # group, root_id, parent_id ...
    delay_s: float | None = None
    at: float | None = None
    expires_s: float | None = None
    retry_of: str | None = None
    actor: str = "submit"
    reply_to: str = ""

    @property
    def canvas(self) -> bool:
        """Something follows this run: its end must be carried on by Celery's tracer."""
        return bool((self.embed and any(self.embed.values())) or (self.headers and self.headers.get("group")))


def shown(spec: RunSpec) -> str:
    """Return what Flower prints as arguments: no command, no environment, no secrets."""
    parts = [spec.name, spec.project and f"project={spec.project}", spec.node and f"node={spec.node}"]
    return " ".join(part for part in parts if part) or "-"


def _script_args(one: Submission) -> dict[str, Any]:
    spec, text = one.spec, one.spec.to_json()
    expires_s = one.expires_s if one.expires_s is not None else spec.expires_s
    said = {
        "id": one.id,
        "spec": text,
        "print": sha256(text.encode()).hexdigest()[:32],
        "queue": queue_of(spec.node, spec.labels),
        "hint": envelope(
            RUN_TASK,
            one.id,
            shown=shown(spec),
            limit_s=spec.timeout_s + spec.grace_s + OUTER_BELT_S,
            embed=one.embed,
            headers=one.headers,
            reply_to=one.reply_to,
        ),
        "canvas": "1" if one.canvas else None,
        "node": spec.node,
        "project": spec.project,
        "name": spec.name,
        "labels": "[" + ",".join(f'"{label}"' for label in sorted(spec.labels)) + "]",
        "timeout_s": spec.timeout_s,
        "lost_after_s": spec.lost_after_s,
        "rerun_lost": "1" if Reason.NODE_LOST in spec.retry_on else "0",
        "delay_s": one.delay_s,
        "at": one.at,
        "expires_s": expires_s,
        "idem": spec.idempotency_key,
        "retry_of": one.retry_of,
        "actor": one.actor,
        "meta_key": outcome.META_PREFIX + one.id,
    }
    if spec.project:
        said["dispatch_queue"] = dispatch_queue(one.source_node or "")
        said["dispatch_hint"] = envelope(DISPATCH_TASK, f"dispatch:{one.id}", shown=shown(spec))
    return {key: value for key, value in said.items() if value is not None}


class Runs:
    """What a caller can ask of runs."""

    def __init__(self, scripts: Scripts) -> None:
        self._scripts = scripts
        self._redis = scripts.client
        self._key = scripts.key

    def submit(self, one: Submission, patience_s: float = 10.0) -> str:
        """Accept a run and return its id (another one when its idempotency key was known).

        Raises SubmitUnknown (the outcome is not known, repeat with the same id), IdempotencyConflict.
        """
        return self.submit_many([one], patience_s)[0]

    def submit_many(self, many: Sequence[Submission], patience_s: float = 10.0) -> list[str]:
        """Accept runs, `BULK` per round trip, and return their ids in order."""
        ids: list[str] = []
        for first in range(0, len(many), BULK):
            part = many[first : first + BULK]
            ids += self._submit_part(part, patience_s)
        return ids

    def _submit_part(self, part: Sequence[Submission], patience_s: float) -> list[str]:
        runs = [_script_args(one) for one in part]
        try:
            said = self._scripts.call(
                "submit", patience_s=patience_s, runs=runs, dispatch_patience_s=DISPATCH_PATIENCE_S
            )
        except FleetUnreachable as error:
            raise SubmitUnknown(
                f"{error}\nWhether run {part[0].id} was accepted is not known; submitting it again with "
                f"task_id={part[0].id!r} is safe.",
                part[0].id,
            ) from error
        for one, answer in zip(part, said, strict=True):
            if "conflict" in answer:
                raise IdempotencyConflict(
                    f"{'idempotency key ' + repr(one.spec.idempotency_key) if one.spec.idempotency_key else 'id'} "
                    f"was used for another spec (run {answer['id']}); use a new one, or send the same spec"
                )
        return [answer["id"] for answer in said]

    def get(self, run_id: str) -> Run | None:
        """Return a run, or None."""
        fields = self._scripts.persistently(lambda: self._redis.hgetall(self._key("run", run_id)))
        return Run(run_id, fields) if fields else None

    def get_many(self, ids: Sequence[str]) -> list[Run]:
        """Return those of the runs that exist, in order."""

        def ask() -> list[dict[str, str]]:
            with self._redis.pipeline(transaction=False) as pipe:
                for run_id in ids:
                    pipe.hgetall(self._key("run", run_id))
                return list(pipe.execute())

        return [Run(i, fields) for i, fields in zip(ids, self._scripts.persistently(ask), strict=True) if fields]

    def peek(self, run_id: str) -> tuple[str | None, int]:
        """Return state (None: unknown) and number of attempts: what a node wants to know before it locks."""
        state, attempt = self._scripts.persistently(
            lambda: self._redis.hmget(self._key("run", run_id), "state", "attempt")
        )
        return state, int(attempt or 0)

    def known(self, beginning: str) -> str:
        """Return the id that begins so. Raises UnknownRun when none or several do."""
        if not beginning.strip():
            raise UnknownRun("an empty run id; see `infra runs`")
        low, high = f"[{beginning}", f"[{beginning}\xff"
        found = self._scripts.persistently(lambda: self._redis.zrangebylex(self._key("ids"), low, high, start=0, num=5))
        if beginning in found or len(found) == 1:
            return beginning if beginning in found else str(found[0])
        if not found:
            raise UnknownRun(f"no run begins with {beginning!r}; see `infra runs`")
        raise UnknownRun(f"several runs begin with {beginning!r}: {', '.join(found)}; give more of the id")

    def recent(self, most: int = 50, *, live_only: bool = False) -> list[Run]:
        """Return the newest runs, newest first."""
        index = self._key("live" if live_only else "recent")
        return self.get_many(self._scripts.persistently(lambda: self._redis.zrevrange(index, 0, most - 1)))

    def counts(self) -> dict[str, int]:
        """Return how many runs are in each state (every state named)."""
        have = self._scripts.persistently(lambda: self._redis.hgetall(self._key("counts")))
        return {state.value: int(have.get(state.value, 0)) for state in State}

    def events(self, run_id: str) -> list[Event]:
        """Return the story of a run, oldest first."""
        texts = self._scripts.persistently(lambda: self._redis.lrange(self._key("run", run_id, "events"), 0, -1))
        return [Event.of(text) for text in texts]

    def cancel(self, run_id: str, *, actor: str = "user", kill: bool = False, only_waiting: bool = False) -> str:
        """Ask a run to stop; a run that waits ends at once. Returns the state it is in now.

        A claimed run ends when its node has stopped it: the wish is durable. `kill` leaves out the grace.
        """
        return self._end_waiting(run_id, State.REVOKED, None, "cancelled", actor, kill=kill, only_waiting=only_waiting)

    def expire(self, run_id: str) -> str:
        """End a run that waited longer than it wanted to."""
        return self._end_waiting(
            run_id, State.FAILURE, Reason.EXPIRED, "nobody could take it in time", "sweep", only_waiting=True
        )

    def fail_waiting(self, run_id: str, reason: Reason, cause: str, actor: str) -> str:
        """End a run that nobody has claimed (its code could not be brought)."""
        return self._end_waiting(run_id, State.FAILURE, reason, cause, actor, only_waiting=True)

    def _end_waiting(
        self,
        run_id: str,
        to: State,
        reason: Reason | None,
        cause: str,
        actor: str,
        *,
        kill: bool = False,
        only_waiting: bool = False,
    ) -> str:
        nonce, deadline = uuid4().hex, time.monotonic() + SAFE_MODE_PATIENCE_S
        while True:
            run = self.get(run_id)
            if run is None:
                raise UnknownRun(f"no run has the id {run_id!r}")
            answer = self._ask_end(run, to, reason, cause, actor, nonce=nonce, kill=kill, only_waiting=only_waiting)
            if answer["said"] in {"final", "asked"} or (answer["said"] == "again" and only_waiting):
                return str(answer["state"])
            if time.monotonic() > deadline:
                raise SafeMode(
                    "the ledger is in safe mode (its Redis came back with other data); try again in a minute"
                )
            time.sleep(LOOK_AGAIN_S)

    def _ask_end(
        self,
        run: Run,
        to: State,
        reason: Reason | None,
        cause: str,
        actor: str,
        *,
        nonce: str,
        kill: bool,
        only_waiting: bool,
    ) -> Any:
        now = time.time()
        seen = {
            "id": run.id,
            "node": run.claim_node,
            "attempt": run.attempt,
            "release": run.release,
            "submitted_at": run.at("submitted_at"),
        }
        result = outcome.result_of(seen, to, reason, {"ended_at": now})
        return self._scripts.call(
            "cancel",
            run=run.id,
            attempt=run.attempt,
            to=to,
            reason=reason,
            actor=actor,
            cause=cause,
            kill=kill,
            only_waiting=only_waiting,
            nonce=nonce,
            result=_text(result),
            meta=outcome.meta(result, outcome.told(result, cause, run.name), now),
            meta_key=outcome.META_PREFIX + run.id,
            keep_s=outcome.KEEP_S,
        )

    def extend(self, run_id: str, by_s: float, *, ceiling_s: float, actor: str = "user") -> float:
        """Give a run more time and return its new limit. Raises BadInput above the ceiling or when it is final."""
        said = self._scripts.call("extend", run=run_id, by_s=by_s, ceiling_s=ceiling_s, actor=actor, nonce=uuid4().hex)
        if said["said"] == "unknown":
            raise UnknownRun(f"no run has the id {run_id!r}")
        if said["said"] == "final":
            raise BadInput(f"run {run_id} is {said['state']}: nothing is left to extend")
        if said["said"] == "ceiling":
            raise BadInput(
                f"run {run_id} has a limit of {said['timeout_s']:g} s; {by_s:g} s more is above the fleet's ceiling of "
                f"{ceiling_s:g} s (limits.timeout_s in nodes.json)"
            )
        return float(said["timeout_s"])

    def unsettled(self) -> list[str]:
        """Return the final runs whose continuations are not known to be done."""
        return list(self._scripts.persistently(lambda: self._redis.zrange(self._key("unsettled"), 0, -1)))

    def waiting(self) -> dict[str, int]:
        """Return how many runs wait in each queue."""
        queues = self._scripts.persistently(lambda: sorted(self._redis.smembers(self._key("queues"))))
        sizes: Iterable[int] = [
            self._scripts.persistently(lambda q=q: self._redis.zcard(self._key("waiting", q))) for q in queues
        ]
        return dict(zip(queues, sizes, strict=True))


def _text(result: outcome.Result) -> str:
    import json  # noqa: PLC0415

    return json.dumps(result)
