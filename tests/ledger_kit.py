"""A ledger and what the outside does with it: callers, nodes, clocks. For tests of the scripts on a real Redis."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from infra_tasks.ledger.claims import Claims
from infra_tasks.ledger.connect import client
from infra_tasks.ledger.nodes import Nodes
from infra_tasks.ledger.records import Event
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


def without(script: str, guard: str, instead: str) -> Callable[[str], str]:
    """Return what gives scripts of which one has `instead` where its `guard` stood."""
    count = source(script).count(guard)
    assert count == 1, f"{guard!r} stands {count} times in {script}.lua"
    return lambda name: source(name).replace(guard, instead) if name == script else source(name)


def with_lanes(hints: int) -> Callable[[str], str]:
    """Return what gives scripts for which so many hints of a project are enough in a queue."""

    def text(name: str) -> str:
        usual = source(name)
        assert usual.count("LANE_HINTS = 32") == 1
        return usual.replace("LANE_HINTS = 32", f"LANE_HINTS = {hints}")

    return text


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
              uuid: str = "", labels: tuple[str, ...] = (), version: str = "") -> dict[str, Any]:  # fmt: skip
        number = self.runs.peek(run_id)[1] + 1 if attempt is None else attempt
        return self.claims.claim(
            run_id, number, claim, node=node, uuid=uuid or f"uuid-{node}", slots=slots, labels=labels, actor=node,
            version=version,
        )  # fmt: skip

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
        spec = RunSpec.recorded(fields["spec"])
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
            self.scripts.call("cordon", node="clock", how="uncordon", actor="test")
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

    def look(self) -> dict[str, Seen]:
        """Return what the ledger holds of every run, read in two round trips."""
        pipe = self.redis.pipeline(transaction=False)
        pipe.zrange(self.key("ids"), 0, -1)
        pipe.keys(self.key("waiting", "*"))
        pipe.keys(self.key("line", "*"))
        pipe.keys(self.key("node", "*", "live"))
        ids, queues, lines, nodes = pipe.execute()
        waiting = [*queues, *lines]
        indexes = ("live", "ended", "due", "moments")
        for run_id in ids:
            pipe.hgetall(self.key("run", run_id))
            pipe.lrange(self.key("story", run_id), 0, -1)
            pipe.get(outcome.META_PREFIX + run_id)
            for index in indexes:
                pipe.zscore(self.key(index), run_id)
            for key in waiting:
                pipe.zscore(key, run_id)
            for key in nodes:
                pipe.sismember(key, run_id)
        pipe.hgetall(self.key("counts"))
        *rows, counts = pipe.execute()
        width = 3 + len(indexes) + len(waiting) + len(nodes)
        seen = {}
        for at, run_id in enumerate(ids):
            row = rows[at * width : (at + 1) * width]
            within = {name: value is not None for name, value in zip(indexes, row[3:7], strict=True)}
            places = [key for key, value in zip(waiting, row[7:], strict=False) if value is not None]
            within["waiting"] = len(places) == 1
            assert places == [] or len(places) == 1, f"{run_id} waits in {places}"
            in_line = row[0].get("in_line")
            assert [place for place in places if place in lines] == ([self.key("line", in_line)] if in_line else [])
            holders = [key for key, value in zip(nodes, row[7 + len(waiting) :], strict=True) if value]
            seen[run_id] = Seen(run_id, row[0], [Event.of(text) for text in row[1]], row[2], within, holders)
        states = [one.state for one in seen.values()]
        counted = {name: int(n) for name, n in counts.items() if n != "0"}
        assert counted == {name: states.count(name) for name in set(states)}, (counted, states)
        return seen

    def check(self) -> dict[str, Seen]:
        """Raise AssertionError when what the ledger holds does not fit together; return what it holds."""
        seen = self.look()
        for one in seen.values():
            one.check(self.key)
        self.check_places(seen)
        return seen

    def members(self, kind: str) -> dict[str, set[str]]:
        """Return the sets whose names begin so: what is behind it -> members."""
        begin = self.key(kind, "")
        return self.each(begin, lambda pipe, key: pipe.smembers(key))

    def each(self, begin: str, ask: Callable[[Any, str], object]) -> dict[str, Any]:
        """Ask for all keys that begin so, in two round trips; return the answers by what is behind it."""
        keys = self.redis.keys(f"{begin}*")
        pipe = self.redis.pipeline(transaction=False)
        for key in keys:
            ask(pipe, key)
        return {key.removeprefix(begin): answer for key, answer in zip(keys, pipe.execute(), strict=True)}

    def check_places(self, seen: Mapping[str, Seen]) -> None:
        """Places of projects and names are held by those that run; who went through a gate waits with a hint."""
        held: dict[str, set[str]] = {}
        for one in seen.values():
            for gate, name in (("project", one.fields.get("project")), ("name", one.fields.get("name"))):
                if one.holders and name:
                    held.setdefault(f"{gate}:{name}", set()).add(one.id)
        assert self.members("running") == held
        hinted = {one.id for one in seen.values() if one.within["waiting"] and not one.fields.get("in_line")}
        for line, ids in self.members("ahead").items():
            assert ids <= hinted, f"{line}: {ids} have no hint"

    def forgotten(
        self, seen: Mapping[str, Seen], most: Mapping[str, int], lane_hints: int, *, swept: bool = False
    ) -> list[str]:
        """Return lines whose first one has nobody in front of it, in the gate or behind it: nobody lets it through.

        `swept`: a sweep has just been here. Only that finds out that somebody of another queue is no longer in front.
        """
        running, ahead = self.members("running"), self.members("ahead")
        last_sweep = float(self.redis.hget(self.key("clock"), "swept") or 0)
        firsts = {
            line: first[0]
            for line, first in self.each(
                self.key("line", ""), lambda pipe, key: pipe.zrange(key, 0, 0, withscores=True)
            ).items()
        }

        def is_held_up(line: str, run: str, number: float) -> bool:
            gate = line.rpartition("@")[0]
            if gate.startswith("name:") and not seen[run].fields.get("most_named"):
                places = float("inf")
            else:
                places = most.get(gate, lane_hints)
            if len(ahead.get(line, ())) + len(running.get(gate, ())) >= places:
                return True
            others = [one for one, (_, other) in firsts.items() if one.rpartition("@")[0] == gate and other < number]
            if not gate.startswith("lane:") and any(not (swept and ahead.get(one)) for one in others):
                return True
            return any(one.keeps(gate, number, last_sweep) for one in seen.values())

        return [line for line, (run, number) in firsts.items() if not is_held_up(line, run, number)]


@dataclass
class Seen:
    """What the ledger holds of one run."""

    id: str
    fields: dict[str, str]
    story: list[Event]
    meta: str | None
    within: dict[str, bool]
    holders: list[str]

    @property
    def state(self) -> str:
        return self.fields["state"]

    @property
    def final(self) -> bool:
        return self.state in {"SUCCESS", "FAILURE", "REVOKED"}

    @property
    def result(self) -> dict[str, Any] | None:
        """What a caller of `.get()` is told."""
        if self.meta is None:
            return None
        said = json.loads(self.meta)
        return dict(said["result"] if said["status"] == "SUCCESS" else said["result"]["exc_message"][1])

    def keeps(self, gate: str, number: float, since: float) -> bool:
        """Say whether it kept a place of a gate since then, from those with that number and later ones."""
        of = (f"project:{self.fields.get('project')}", f"name:{self.fields.get('name')}")
        return (
            gate in of
            and float(self.fields.get("line", "inf")) < number
            and float(self.fields.get("kept_till", 0)) > since
        )

    def check(self, key: Callable[..., str]) -> None:
        held = self.state == "STARTED" or (self.state == "SYNCING" and not self.fields.get("dispatch"))
        assert self.holders == ([key("node", self.fields["claim_node"], "live")] if held else []), self
        assert self.within["live"] is not self.final, self
        assert self.within["ended"] is self.final, self
        waits = self.state == "QUEUED" or (self.state == "PENDING" and not self.within["moments"])
        assert self.within["waiting"] is waits, self
        assert held or self.final or not self.fields.get("cancel"), f"cancelled, and still to be run: {self}"
        if self.final:
            self.check_end()
        elif held:
            assert self.within["due"] is bool(self.fields["lease_until"]), self
        else:
            moved_on = (
                self.within["moments"] or self.within["waiting"] or (self.state == "SYNCING" and self.within["due"])
            )
            assert moved_on, f"nothing will ever move {self}"
        self.check_story()

    def check_end(self) -> None:
        result = json.loads(self.fields["result"])
        assert self.meta is not None, f"Celery was not told of {self}"
        assert json.loads(self.meta)["status"] == self.state == result["state"], self
        assert self.result == result, self
        assert (result["reason"] or "") == self.fields["reason"], self

    def check_story(self) -> None:
        at, holder = "", None
        for event in self.story:
            assert event.from_state == at, self
            if event.to_state != at:
                assert not at or State(event.to_state) in MOVES[State(at)], self
                if event.to_state in {"STARTED", "SYNCING"} and event.token and event.token != holder:
                    assert at == "QUEUED", f"a claim in {at}: {self}"
                    holder = event.token
            at = event.to_state
        assert at == self.state, self
