"""One whole node with its own Redis: the real watcher and all its roles."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from whole_node import ROLES, WholeNode

from chaos.beds import ours
from chaos.beds.door import LEASE

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    import redis

    from chaos.notes import End
    from infra_tasks.ledger import Ledger

NAME = "n1"


class OneNode:
    """A bed (see `chaos.beds.bed`)."""

    nodes = (NAME,)
    parts = (*ROLES, "watcher", "children", "zygotes", "shim")
    door = "chaos.beds.door"

    def __init__(self, folder: Path, *, slots: int = 4, code: Path | None = None) -> None:
        self.folder = folder
        self.slots = slots
        self.sources = ours.make_sources(folder)
        self.node = WholeNode(folder / NAME, slots=slots, limits=LEASE, projects=dict(self.sources), code=code)

    def up(self) -> None:
        self.node.up()

    def close(self) -> None:
        self.node.close()
        ours.unmount(self.node.home / "runs")

    def env(self) -> Mapping[str, str]:
        return ours.env(self.node)

    def pids(self, part: str, node: str) -> list[int]:  # noqa: ARG002  there is one
        return ours.pids(self.node, part)

    def attempts(self, node: str) -> list[tuple[str, int]]:  # noqa: ARG002  there is one
        return ours.attempts(self.node)

    def restart(self, node: str) -> None:  # noqa: ARG002  there is one
        ours.restart(self.node)

    def stop(self, node: str) -> None:  # noqa: ARG002  there is one
        ours.stop(self.node)

    def upgrade(self, node: str) -> None:  # noqa: ARG002  there is one
        ours.upgrade(self.node, self.folder)

    def cancel(self, runs: Iterable[str]) -> None:
        ours.cancel(self.ledger, runs)

    def home(self, node: str) -> Path:  # noqa: ARG002  there is one
        return self.node.home

    @cached_property
    def ledger(self) -> Ledger:
        """The ledger, from outside."""
        opened: Ledger = self.node.ledger()
        return opened

    def redis(self) -> redis.Redis:
        return self.ledger.scripts.client

    def ends(self, runs: Iterable[str]) -> dict[str, End | None]:
        return ours.ends(self.ledger, runs)

    def states(self, runs: Iterable[str]) -> dict[str, str]:
        return ours.states(self.ledger, runs)

    def unfinished(self) -> list[str]:
        return ours.unfinished(self.ledger)

    def living(self) -> list[str]:
        return ours.living(self.node)

    def audit(self) -> list[str]:
        return ours.audit(self.node)

    def logs(self) -> str:
        return self.node.logs()
