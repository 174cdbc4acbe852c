"""Nodes as the ledger knows them."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

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
    def info(self) -> dict[str, Any]:
        """Load, roles and so on, as the agent said."""
        return dict(json.loads(self.fields.get("info") or "{}"))


class Nodes:
    """The nodes of the fleet in the ledger."""

    def __init__(self, scripts: Scripts) -> None:
        self._scripts = scripts
        self._redis = scripts.client
        self._key = scripts.key

    def all(self) -> list[NodeSeen]:
        """Return every node that ever spoke, by name."""
        names = self._scripts.persistently(lambda: sorted(self._redis.smembers(self._key("nodes"))))
        now = self.now()
        return [self._seen(name, now) for name in names]

    def _seen(self, name: str, now: float) -> NodeSeen:
        fields = self._scripts.persistently(lambda: self._redis.hgetall(self._key("node", name)))
        live = self._scripts.persistently(lambda: self._redis.scard(self._key("node", name, "live")))
        return NodeSeen(name, fields, live, max(0.0, now - float(fields.get("seen_at") or 0)))

    def reachable(self, name: str) -> bool:
        """Say whether a node spoke lately."""
        return self._seen(name, self.now()).reachable

    def now(self) -> float:
        """Return Redis' wall clock, seconds."""
        seconds, micros = self._scripts.persistently(self._redis.time)
        return float(seconds) + float(micros) / 1e6

    def cordon(self, name: str, why: str, *, actor: str = "user") -> None:
        """Place nothing new on a node."""
        self._scripts.call("cordon", node=name, cordoned=True, why=why, actor=actor)

    def uncordon(self, name: str, *, actor: str = "user") -> None:
        """Place runs on a node again."""
        self._scripts.call("cordon", node=name, cordoned=False, actor=actor)

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
