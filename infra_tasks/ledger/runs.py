"""Runs as their users see them: submit, look, cancel, extend."""

from __future__ import annotations

import math
import time
from functools import partial
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from infra_tasks.errors import BadInput, FleetUnreachable, IdempotencyConflict, SafeMode, SubmitUnknown, UnknownRun
from infra_tasks.ledger.ending import end_of
from infra_tasks.ledger.records import Event, Run
from infra_tasks.ledger.submission import Submission, parts
from infra_tasks.model.run import Reason, State

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from infra_tasks.ledger.scripts import Scripts

__all__ = ["Runs", "Submission"]

SAFE_MODE_PATIENCE_S = 20.0
LOOK_AGAIN_S = 0.1
# Few enough that nobody else waits long.
READ_AT_ONCE = 1000


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
        return [run_id for ids in self.submit_parts(many, patience_s) for run_id in ids]

    def submit_parts(self, many: Sequence[Submission], patience_s: float = 10.0) -> Iterator[list[str]]:
        """Accept runs as `submit_many` does, and give the ids of each part once it is accepted."""
        accepted = 0
        for part, runs in parts(many):
            try:
                ids = self._submit_part(part, runs, patience_s)
            except (SubmitUnknown, IdempotencyConflict) as error:
                raise _with_count(error, accepted, len(many)) from error
            accepted += len(ids)
            yield ids

    def _submit_part(self, part: Sequence[Submission], runs: list[dict[str, Any]], patience_s: float) -> list[str]:
        try:
            said = self._scripts.call("submit", patience_s=patience_s, runs=runs)
        except FleetUnreachable as error:
            raise SubmitUnknown(
                f"{error}\nWhether run {part[0].id} was accepted is not known; submitting it again with "
                f"task_id={part[0].id!r} is safe.",
                part[0].id,
                count=len(part),
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

    def some(self, ids: Sequence[str], names: Sequence[str]) -> list[Run]:
        """Return those of the runs that exist, in order, with these fields only (`state` must be among them)."""

        def ask() -> list[list[str | None]]:
            with self._redis.pipeline(transaction=False) as pipe:
                for run_id in ids:
                    pipe.hmget(self._key("run", run_id), names)
                return list(pipe.execute())

        rows = self._scripts.persistently(ask) if ids else []
        seen = [{name: text for name, text in zip(names, row, strict=True) if text is not None} for row in rows]
        return [Run(run_id, fields) for run_id, fields in zip(ids, seen, strict=True) if fields.get("state")]

    def newest(self, most: int) -> list[str]:
        """Return the ids of the newest that go on and of the newest of all. Raises FleetUnreachable at once."""

        def ask() -> list[list[str]]:
            with self._redis.pipeline(transaction=False) as pipe:
                for index in ("live", "recent"):
                    pipe.zrange(self._key(index), -most, -1)
                return list(pipe.execute())

        live, recent = self._scripts.persistently(ask, patience_s=0)
        return list(dict.fromkeys([*live, *recent]))

    def peek(self, run_id: str) -> tuple[str | None, int]:
        """Return state (None: unknown) and number of attempts: what a node wants to know before it locks."""
        state, attempt = self._scripts.persistently(
            lambda: self._redis.hmget(self._key("run", run_id), "state", "attempt")
        )
        return state, int(attempt or 0)

    def states(self, ids: Sequence[str]) -> list[str | None]:
        """Return the states of runs in order; None where there is no such run."""

        def ask(part: Sequence[str]) -> list[str | None]:
            with self._redis.pipeline(transaction=False) as pipe:
                for run_id in part:
                    pipe.hget(self._key("run", run_id), "state")
                return list(pipe.execute())

        parts = [ids[at : at + READ_AT_ONCE] for at in range(0, len(ids), READ_AT_ONCE)]
        return [state for part in parts for state in self._scripts.persistently(partial(ask, part))]

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
        said = f"several runs begin with {beginning!r}: {', '.join(found)}; give more of the id"
        raise UnknownRun(said, several=True)

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
                "cancel",
                actor=actor,
                only_waiting=only_waiting,
                nonce=nonce,
                **end_of(run, to, reason, cause, time.time()),
                **more,
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
        """Return how many runs wait in each queue, with a hint or in a line in front of it."""
        return dict(self._scripts.persistently(self._count_waiting))

    def _count_waiting(self) -> dict[str, int]:
        queues: list[str] = sorted(self._redis.zrange(self._key("queues"), 0, -1))  # type: ignore[arg-type]
        lines: list[str] = sorted(self._redis.smembers(self._key("lines")))  # type: ignore[arg-type]
        with self._redis.pipeline(transaction=False) as pipe:
            for queue in queues:
                pipe.zcard(self._key("waiting", queue))
            for line in lines:
                pipe.zcard(self._key("line", line))
            counts = list(pipe.execute())
        found = dict(zip(queues, counts, strict=False))
        for line, count in zip(lines, counts[len(queues) :], strict=True):
            queue = line.rpartition("@")[2]
            found[queue] = found.get(queue, 0) + count
        return found


def _with_count(
    error: SubmitUnknown | IdempotencyConflict, accepted: int, asked: int
) -> SubmitUnknown | IdempotencyConflict:
    if asked == 1:
        return error
    more = f"{error}\n{accepted} of the {asked} runs had been accepted before."
    return (
        SubmitUnknown(more, error.run_id, error.count)
        if isinstance(error, SubmitUnknown)
        else IdempotencyConflict(more)
    )
