"""Nodes as the ledger knows them."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from infra_tasks.routing import node_queue

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from infra_tasks.ledger.scripts import Scripts

# An agent says something every second or two; a node silent for longer than this is unreachable.
SILENT_AFTER_S = 30.0


@dataclass(frozen=True)
class NodeSeen:
    """What a node's agent said last. `silent_s`: how long ago, on Redis' clock."""

    name: str
    fields: Mapping[str, str]
    live: int
    silent_s: float

    @property
    def cordoned(self) -> bool:
        """Nothing new is placed here."""
        return self.fields.get("cordoned") == "1"

    @property
    def reachable(self) -> bool:
        """It spoke lately."""
        return self.silent_s < SILENT_AFTER_S

    @property
    def labels(self) -> list[str]:
        """Its labels, as it said itself."""
        return list(json.loads(self.fields.get("labels") or "[]"))

    @property
    def info(self) -> dict[str, Any]:
        """Load, roles and so on, as the agent said."""
        return dict(json.loads(self.fields.get("info") or "{}"))


class Nodes:
    """The nodes of the fleet in the ledger."""

    def __init__(self, scripts: Scripts) -> None:
        self._scripts = scripts
        self._redis = scripts.client
        self._key = scripts.key

    def all(self, also: Iterable[str] = ()) -> list[NodeSeen]:
        """Return every node that ever spoke, and those of the other names of which anything is known, by name."""
        spoke = self._scripts.persistently(lambda: self._redis.smembers(self._key("nodes")))
        names = sorted({*spoke, *also})
        return [node for node in self._seen(names) if node.name in spoke or node.fields]

    def _seen(self, names: Sequence[str]) -> list[NodeSeen]:
        def ask() -> list[Any]:
            with self._redis.pipeline(transaction=False) as pipe:
                for name in names:
                    pipe.hgetall(self._key("node", name))
                    pipe.scard(self._key("node", name, "live"))
                pipe.time()
                return list(pipe.execute())

        *said, (seconds, micros) = self._scripts.persistently(ask)
        now = float(seconds) + float(micros) / 1e6
        return [
            NodeSeen(name, fields, live, max(0.0, now - float(fields.get("seen_at") or 0)))
            for name, fields, live in zip(names, said[::2], said[1::2], strict=True)
        ]

    def runs_on(self, names: Sequence[str]) -> list[str]:
        """Return the ids of the runs that nodes have claimed."""

        def ask() -> list[set[str]]:
            with self._redis.pipeline(transaction=False) as pipe:
                for name in names:
                    pipe.smembers(self._key("node", name, "live"))
                return list(pipe.execute())

        return sorted(set().union(*self._scripts.persistently(ask))) if names else []

    def waits_for(self, name: str, most: int = 1000) -> list[str]:
        """Return the ids of runs that wait for a slot of this node and of no other, the oldest first."""
        queue = node_queue(name)
        end = f"@{queue}"

        def ask() -> list[str]:
            lines = [line for line in sorted(map(str, self._redis.smembers(self._key("lines")))) if line.endswith(end)]
            with self._redis.pipeline(transaction=False) as pipe:
                for key in (self._key("waiting", queue), *(self._key("line", line) for line in lines)):
                    pipe.zrange(key, 0, most - 1)
                return [run_id for ids in pipe.execute() for run_id in ids]

        found: list[str] = self._scripts.persistently(ask)
        return found[:most]

    def reachable(self, name: str) -> bool:
        """Say whether a node spoke lately."""
        return self._seen([name])[0].reachable

    def now(self) -> float:
        """Return Redis' wall clock, seconds."""
        seconds, micros = self._scripts.persistently(self._redis.time)
        return float(seconds) + float(micros) / 1e6

    def cordon(self, name: str, why: str | None, *, actor: str = "user") -> None:
        """Place nothing new on a node."""
        self._cordon("cordon", node=name, why=why, actor=actor)

    def drain(
        self, name: str, *, why: str | None, actor: str, deadline_s: float | None = None, moves: bool = False
    ) -> None:
        """Place nothing new on a node until it is empty, and beyond. Whoever sweeps carries it on.

        What still runs when `deadline_s` are over is stopped, and run again where it may. `moves`: runs that wait for
        the node go back to their pool, unless their spec names the node.
        """
        self._cordon("drain", node=name, why=why, actor=actor, deadline_s=deadline_s, moves=moves)

    def uncordon(self, name: str, *, actor: str = "user") -> dict[str, str]:
        """Place runs on a node again, whoever had cordoned it; return what stood there before."""
        return self._cordon("uncordon", node=name, actor=actor)

    def _cordon(self, how: str, **said: Any) -> dict[str, str]:
        return dict(self._scripts.call("cordon", how=how, nonce=uuid4().hex, **said)["before"])

    def is_cordoned(self, name: str) -> bool:
        """Say whether nothing new is placed on a node."""
        return bool(self._scripts.persistently(lambda: self._redis.hget(self._key("node", name), "cordoned")) == "1")

    def one(self, name: str) -> NodeSeen:
        """Return what is known of a node."""
        return self._seen([name])[0]

    def safe_mode(self) -> list[str] | None:
        """Return the nodes that safe mode waits for, or None when it is off."""
        if not self._scripts.persistently(lambda: self._redis.hget(self._key("epoch"), "safe")):
            return None
        return list(self._scripts.persistently(lambda: sorted(self._redis.smembers(self._key("safe")))))

    def pools(self) -> list[str]:
        """Return every queue that a run has waited in lately (a day, as long as one waits)."""
        return list(self._scripts.persistently(lambda: sorted(self._redis.zrange(self._key("queues"), 0, -1))))

    def pulse(self, slot: int) -> None:
        """Note that a tick of beat arrived; the same slot twice is the same tick."""
        self._scripts.persistently(
            lambda: self._redis.set(self._key("pulse"), json.dumps({"slot": slot, "at": time.time()}))
        )

    def last_pulse(self) -> float | None:
        """Return when a tick of beat arrived last (wall seconds)."""
        text = self._scripts.persistently(lambda: self._redis.get(self._key("pulse")))
        return float(json.loads(text)["at"]) if text else None
