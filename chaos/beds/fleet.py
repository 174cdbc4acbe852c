"""What is the same of every bed that is made of nodes of ours, be it one or three."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from whole_node import ROLES

from chaos.beds import ours
from infra_tasks.routing import FOREIGN, GUARDIAN, dispatch_queue

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    import redis
    from whole_node import WholeNode

    from chaos.notes import End
    from infra_tasks.ledger import Ledger


class Fleet:
    """A bed (see `chaos.beds.bed`) but for how it is made, ended, and where its Redis is."""

    folder: Path
    nodes: tuple[str, ...]
    slots: int
    sources: dict[str, Path]
    members: Mapping[str, WholeNode]
    """Its nodes by name; the first one has the sources."""
    parts = (*ROLES, "watcher", "children", "zygotes", "shim")
    door = "chaos.beds.door"

    def env(self) -> Mapping[str, str]:
        return ours.env(self.members[self.nodes[0]])

    def pids(self, part: str, node: str) -> list[int]:
        return ours.pids(self.members[node], part)

    def attempts(self, node: str) -> list[tuple[str, int]]:
        return ours.attempts(self.members[node])

    def restart(self, node: str) -> None:
        ours.restart(self.members[node])

    def stop(self, node: str) -> None:
        ours.stop(self.members[node])

    def upgrade(self, node: str) -> None:
        ours.upgrade(self.members[node], self.folder)

    def home(self, node: str) -> Path:
        return self.members[node].home

    @cached_property
    def ledger(self) -> Ledger:
        """The ledger, from outside."""
        opened: Ledger = self.members[self.nodes[0]].ledger()
        return opened

    def redis(self) -> redis.Redis:
        return self.ledger.scripts.client

    @property
    def dispatches(self) -> str:
        return dispatch_queue(self.nodes[0])

    @property
    def ticked(self) -> tuple[str, ...]:
        return (GUARDIAN, FOREIGN, *map(dispatch_queue, self.nodes[1:]))

    def tick(self, queue: str) -> Callable[[], bool]:
        return ours.tick(self.members[self.nodes[0]], self.redis(), queue)

    def cancel(self, runs: Iterable[str]) -> None:
        ours.cancel(self.ledger, runs)

    def ends(self, runs: Iterable[str]) -> dict[str, End | None]:
        return ours.ends(self.ledger, runs)

    def states(self, runs: Iterable[str]) -> dict[str, str]:
        return ours.states(self.ledger, runs)

    def unfinished(self) -> list[str]:
        return ours.unfinished(self.ledger)

    def living(self) -> list[str]:
        return [said for node in self.members.values() for said in ours.living(node)]

    def audit(self) -> list[str]:
        return [f"{name}: {said}" for name, node in self.members.items() for said in ours.audit(node)]
