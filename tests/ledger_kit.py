"""A ledger and what the outside does with it: callers, nodes, clocks. For tests of the scripts on a real Redis."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from infra_tasks.ledger.claims import Claims
from infra_tasks.ledger.connect import client
from infra_tasks.ledger.nodes import Nodes
from infra_tasks.ledger.runs import Runs, Submission
from infra_tasks.ledger.scripts import Scripts, source
from infra_tasks.model import outcome
from infra_tasks.model.run import MOVES, State
from infra_tasks.model.spec import RunSpec

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

Token = tuple[str, int, str]

WORKED: dict[str, Any] = {"outcome": "exited", "exit_code": 0, "started_at": 1.0, "ended_at": 2.0}
FAILED: dict[str, Any] = {"outcome": "exited", "exit_code": 3, "started_at": 1.0, "ended_at": 2.0}
LOST: dict[str, Any] = {"outcome": "lost", "started_at": 1.0, "ended_at": 2.0, "error": "its shim died"}
UNSTARTED: dict[str, Any] = {"outcome": "lost", "started_at": None, "ended_at": 2.0, "error": "its worker died"}


@dataclass
class Kit:
    """One ledger under a prefix, by the scripts `text` gives."""

    url: str
    prefix: str = field(default_factory=lambda: f"t{uuid4().hex[:8]}:")
    text: Callable[[str], str] = source

    def __post_init__(self) -> None:
        self.scripts = Scripts(client(self.url), self.prefix, self.text)
        self.runs, self.claims, self.nodes = Runs(self.scripts), Claims(self.scripts), Nodes(self.scripts)
        self.redis: Any = self.scripts.client
        self.key = self.scripts.key

    def close(self) -> None:
        self.redis.close()

    # Callers.

    def submit(self, run_id: str | None = None, *, options: Mapping[str, Any] | None = None, **spec: Any) -> str:
        made = RunSpec.of({"command": ["true"], "node": "a", **spec})
        source_node = "a" if made.project else None
        return self.runs.submit(Submission(run_id or uuid4().hex, made, source_node=source_node, **(options or {})))

    def state(self, run_id: str) -> str:
        return self.runs.peek(run_id)[0] or ""

    def field(self, run_id: str, name: str) -> str:
        return self.redis.hget(self.key("run", run_id), name) or ""

    def meta(self, run_id: str) -> dict[str, Any] | None:
        text = self.redis.get(outcome.META_PREFIX + run_id)
        return json.loads(text) if text else None

    # Nodes.

    def claim(self, run_id: str, claim: str = "c1", *, node: str = "a", attempt: int | None = None, slots: int = 2,
              uuid: str = "", labels: tuple[str, ...] = ()) -> dict[str, Any]:  # fmt: skip
        number = self.runs.peek(run_id)[1] + 1 if attempt is None else attempt
        return self.claims.claim(
            run_id, number, claim, node=node, uuid=uuid or f"uuid-{node}", slots=slots, labels=labels, actor=node
        )

    def claimed(self, run_id: str, claim: str = "c1", **said: Any) -> dict[str, str]:
        answer = self.claim(run_id, claim, **said)
        assert answer["said"] == "claimed", answer
        return dict(answer["fields"])

    def renew(self, node: str = "a", live: tuple[Token, ...] = (), **said: Any) -> dict[str, Any]:
        named = [{"run": run, "attempt": attempt, "claim": claim} for run, attempt, claim in live]
        return self.claims.renew(
            patience_s=5, node=node, uuid=f"uuid-{node}", boot_id="b", slots=2, labels="[]", version="0", info="{}",
            live=named, **said,
        )  # fmt: skip

    def finish(self, token: Token, exit_record: Mapping[str, Any] = WORKED, fields: Mapping[str, str] | None = None,
               *, settle_in_s: float = 0, lapsed: bool = False) -> dict[str, Any]:  # fmt: skip
        run_id, attempt, _ = token
        fields = fields or self.redis.hgetall(self.key("run", run_id))
        spec = RunSpec.from_json(fields["spec"])
        counts = {name: int(fields.get(name) or 0) for name in ("retries_used", "lost", "unstarted")}
        end = outcome.ending(exit_record, spec, counts)
        run = {"id": run_id, "node": fields.get("claim_node"), "attempt": attempt,
               "submitted_at": float(fields["submitted_at"])}  # fmt: skip
        result = outcome.result_of(run, end.to, end.reason, exit_record)
        revoked = outcome.result_of(run, State.REVOKED, None, exit_record)
        return self.claims.finish(
            token, end, (result, revoked), errors=("failed", "cancelled"), now=2.0, actor="node",
            settle_in_s=settle_in_s, lapsed=lapsed,
        )  # fmt: skip

    # Clocks: the past is written, nobody waits.

    def pass_time(self, seconds: float) -> None:
        """Let ledger time pass, in the steps it allows itself."""
        while seconds > 0:
            step = min(seconds, 10.0)
            seen = float(self.redis.hget(self.key("clock"), "seen") or 0)
            self.redis.hset(self.key("clock"), "seen", f"{seen - step:.6f}")
            self.scripts.call("cordon", node="clock", cordoned=False, actor="test")
            seconds -= step

    def now(self) -> float:
        return float(self.redis.hget(self.key("clock"), "now") or 0)

    def moment_comes(self, run_id: str) -> None:
        """Let a run that waits for a moment of the wall clock have it."""
        if self.redis.zscore(self.key("moments"), run_id) is not None:
            self.redis.zadd(self.key("moments"), {run_id: 1.0})
            self.redis.hset(self.key("run", run_id), "not_before", "1.0")

    def sweep(self, node: str = "a") -> dict[str, Any]:
        self.redis.delete(self.key("sweeper"))
        return self.claims.sweep(node)

    def another_server(self) -> None:
        """What the ledger sees when Redis was restarted."""
        self.redis.hset(self.key("epoch"), "server", "another")

    # Promises that hold at any moment.

    def check(self) -> None:
        """Raise AssertionError when what the ledger holds does not fit together."""
        ids = self.redis.zrange(self.key("ids"), 0, -1)
        states = {run_id: self.state(run_id) for run_id in ids}
        counted = {name: n for name, n in self.runs.counts().items() if n}
        assert counted == {name: list(states.values()).count(name) for name in set(states.values())}, (counted, states)
        for run_id, state in states.items():
            check_run(self, run_id, state)


def check_run(kit: Kit, run_id: str, state: str) -> None:
    fields = kit.redis.hgetall(kit.key("run", run_id))
    final = state in {"SUCCESS", "FAILURE", "REVOKED"}
    holders = [key for key in kit.redis.scan_iter(kit.key("node", "*", "live")) if kit.redis.sismember(key, run_id)]
    held = state == "STARTED" or (state == "SYNCING" and not fields.get("dispatch"))
    assert holders == ([kit.key("node", fields["claim_node"], "live")] if held else []), (run_id, state, holders)
    indexes = {
        name: kit.redis.zscore(kit.key(name), run_id) is not None for name in ("live", "ended", "due", "moments")
    }
    waiting = any(kit.redis.zscore(key, run_id) is not None for key in kit.redis.scan_iter(kit.key("waiting", "*")))
    assert indexes["live"] is not final, (run_id, state, indexes)
    assert indexes["ended"] is final, (run_id, state, indexes)
    if final:
        check_result(kit, run_id, state, fields)
    elif not held:
        stuck = not (indexes["moments"] or waiting or (state == "SYNCING" and indexes["due"]))
        assert not stuck, f"{run_id} is {state} and nothing will ever move it"
    elif fields.get("lease_until"):
        assert indexes["due"], f"the lease of {run_id} is not watched"
    assert waiting is (state == "QUEUED" or (state == "PENDING" and not indexes["moments"])), (run_id, state, waiting)
    check_story(kit, run_id, state)


def check_result(kit: Kit, run_id: str, state: str, fields: Mapping[str, str]) -> None:
    meta, result = kit.meta(run_id), json.loads(fields["result"])
    assert meta is not None, f"{run_id} is final and Celery does not know"
    told = meta["result"] if state == "SUCCESS" else meta["result"]["exc_message"][1]
    assert (meta["status"], told) == (state, result), (run_id, state, meta)
    assert result["state"] == state
    assert (result["reason"] or "") == fields["reason"]


def check_story(kit: Kit, run_id: str, state: str) -> None:
    story = kit.runs.events(run_id)
    at, holder = "", None
    for event in story:
        assert event.from_state == at, (run_id, [(e.from_state, e.to_state) for e in story])
        if event.to_state != at:
            assert at == "" or State(event.to_state) in MOVES[State(at)], (run_id, at, event)
            if event.to_state in {"STARTED", "SYNCING"} and event.token and event.token != holder:
                assert at == "QUEUED", f"{run_id}: a claim in {at}"
                holder = event.token
        at = event.to_state
    assert at == state, (run_id, at, state)
