"""The ledger of a fleet, opened: runs, claims, nodes, code and outputs on their way, on one connection pool."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from infra_tasks.ledger.bringing import Bringing
from infra_tasks.ledger.claims import Claims
from infra_tasks.ledger.code import Code
from infra_tasks.ledger.connect import client, url_of
from infra_tasks.ledger.nodes import Nodes
from infra_tasks.ledger.runs import Runs
from infra_tasks.ledger.scripts import PREFIX, Scripts

if TYPE_CHECKING:
    from infra_tasks.settings import Home


@dataclass(frozen=True)
class Ledger:
    """Everything that is known of the fleet's runs."""

    scripts: Scripts
    runs: Runs
    claims: Claims
    nodes: Nodes
    code: Code
    bringing: Bringing

    @classmethod
    def at(cls, url: str, prefix: str = PREFIX, *, socket_timeout_s: float = 10.0) -> Ledger:
        """Return the ledger at a Redis address. Nothing is sent yet."""
        scripts = Scripts(client(url, socket_timeout=socket_timeout_s), prefix)
        return cls(scripts, Runs(scripts), Claims(scripts), Nodes(scripts), Code(scripts), Bringing(scripts))

    def answers(self) -> bool:
        """Say whether Redis answers right now. Raises FleetUnreachable when not."""
        return bool(self.scripts.persistently(self.scripts.client.ping, patience_s=0))

    def close(self) -> None:
        """Give the connections back."""
        self.scripts.client.close()


def open_ledger(home: Home) -> Ledger:
    """Return the ledger of the fleet this folder belongs to. Raises FleetUnreachable, BadFleet."""
    return Ledger.at(url_of(home))
