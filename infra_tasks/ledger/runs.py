"""Runs as their users see them: submit, look, cancel, extend."""

from __future__ import annotations

import json
import math
import time
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from infra_tasks.errors import BadInput, FleetUnreachable, IdempotencyConflict, SafeMode, SubmitUnknown, UnknownRun
from infra_tasks.ledger.records import Event, Run
from infra_tasks.ledger.submission import Submission, parts
from infra_tasks.model import outcome
from infra_tasks.model.run import Reason, State

if TYPE_CHECKING:
    from collections.abc import Sequence

    from infra_tasks.ledger.scripts import Scripts

__all__ = ["Runs", "Submission"]

SAFE_MODE_PATIENCE_S = 20.0
LOOK_AGAIN_S = 0.1


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
        """Accept runs in a few round trips, and return their ids in order.

        Raises as `submit` does; the message says how many had been accepted. Handing over the same submissions again
        is safe.
        """
        ids: list[str] = []
        for part, runs in parts(many):
            try:
                ids += self._submit_part(part, runs, patience_s)
            except (SubmitUnknown, IdempotencyConflict) as error:
                raise _with_count(error, len(ids), len(many)) from error
        return ids

    def _submit_part(self, part: Sequence[Submission], runs: list[dict[str, Any]], patience_s: float) -> list[str]:
        try:
            said = self._scripts.call("submit", patience_s=patience_s, runs=runs)
        except FleetUnreachable as error:
            raise SubmitUnknown(
                f"{error}\nWhether run {part[0].id} was accepted is not known; submitting it again with "
                f"task_id={part[0].id!r} is safe.",
                part[0].id,
            ) from error
        for one, answer in zip(part, said, strict=True):
            if "conflict" in answer:
                key = one.spec.idempotency_key
                raise IdempotencyConflict(
                    f"{f'idempotency key {key!r}' if key else 'id'} was used for another spec (run {answer['id']}); "
                    "use a new one, or send the same spec"
                )
            if one.canvas and answer["id"] != one.id:
                raise IdempotencyConflict(
                    f"idempotency key {one.spec.idempotency_key!r} names run {answer['id']}, and what should follow "
                    "this one (chain, chord, group, link) can no longer be put behind it; use a new key"
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
        if not beginning.isascii():
            raise UnknownRun(f"no run begins with {beginning!r}; see `infra runs`")
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
        texts = self._scripts.persistently(lambda: self._redis.lrange(self._key("story", run_id), 0, -1))
        return [Event.of(text) for text in texts]

    def cancel(self, run_id: str, *, actor: str = "user", kill: bool = False, only_waiting: bool = False) -> str:
        """Ask a run to stop; a run that waits ends at once. Returns the state it is in now.

        A claimed run ends when its node has stopped it: the wish is durable. `kill` leaves out the grace.
        """
        return self._end_waiting(run_id, State.REVOKED, None, "cancelled", actor, kill=kill, only_waiting=only_waiting)

    def expire(self, run_id: str) -> str:
        """End a run that waited longer than it wanted to. Returns its state: the old one in safe mode."""
        return self._end_waiting(
            run_id,
            State.FAILURE,
            Reason.EXPIRED,
            "nobody could take it in time",
            "sweep",
            only_waiting=True,
            patience_s=0,
        )

    def fail_waiting(self, run_id: str, reason: Reason, cause: str, actor: str, *, dispatch: str | None = None) -> str:
        """End a run that nobody has claimed (its code could not be brought). Returns the state it is in now.

        `dispatch`: only if this dispatcher still has it.
        """
        return self._end_waiting(run_id, State.FAILURE, reason, cause, actor, only_waiting=True, dispatch=dispatch)

    def _end_waiting(
        self,
        run_id: str,
        to: State,
        reason: Reason | None,
        cause: str,
        actor: str,
        *,
        only_waiting: bool = False,
        patience_s: float = SAFE_MODE_PATIENCE_S,
        **more: Any,
    ) -> str:
        nonce, deadline = uuid4().hex, time.monotonic() + patience_s
        while True:
            run = self.get(run_id)
            if run is None:
                raise UnknownRun(f"no run has the id {run_id!r}")
            answer = self._scripts.call(
                "cancel", actor=actor, only_waiting=only_waiting, nonce=nonce, **_end_of(run, to, reason, cause), **more
            )
            said = answer["said"]
            if said in {"final", "asked"} or (said == "again" and only_waiting) or (said == "safe" and not patience_s):
                return str(answer["state"])
            if time.monotonic() > deadline:
                raise SafeMode(
                    "the ledger is in safe mode (its Redis came back with other data); try again in a minute"
                )
            time.sleep(LOOK_AGAIN_S)

    def extend(self, run_id: str, by_s: float, *, ceiling_s: float, actor: str = "user") -> float:
        """Give a run more time and return its new limit. Raises BadInput above the ceiling or when it is final."""
        if not (math.isfinite(by_s) and by_s > 0):
            raise BadInput(f"a run is extended by a number of seconds above 0; found {by_s!r}")
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
        queues = self._scripts.persistently(lambda: sorted(self._redis.zrange(self._key("queues"), 0, -1)))

        def ask() -> list[int]:
            with self._redis.pipeline(transaction=False) as pipe:
                for queue in queues:
                    pipe.zcard(self._key("waiting", queue))
                return list(pipe.execute())

        return dict(zip(queues, self._scripts.persistently(ask), strict=True))


def _end_of(run: Run, to: State, reason: Reason | None, cause: str) -> dict[str, Any]:
    """Return how a run that nobody has claimed ends, as the script takes it."""
    now = time.time()
    seen = {
        "id": run.id,
        "node": run.claim_node,
        "attempt": run.attempt,
        "release": run.release,
        "submitted_at": run.at("submitted_at"),
    }
    result = outcome.result_of(seen, to, reason, {"ended_at": now})
    return {
        "run": run.id,
        "attempt": run.attempt,
        "to": to,
        "reason": reason,
        "cause": cause,
        "result": json.dumps(result),
        "meta": outcome.meta(result, outcome.told(result, cause, run.name), now),
        "meta_key": outcome.META_PREFIX + run.id,
        "keep_s": outcome.KEEP_S,
    }


def _with_count(
    error: SubmitUnknown | IdempotencyConflict, accepted: int, asked: int
) -> SubmitUnknown | IdempotencyConflict:
    if asked == 1:
        return error
    more = f"{error}\n{accepted} of the {asked} runs had been accepted before."
    return SubmitUnknown(more, error.run_id) if isinstance(error, SubmitUnknown) else IdempotencyConflict(more)
