"""The ledger of a fleet, opened: runs, claims, nodes, code and outputs on their way, on one connection pool."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from infra_tasks.ledger.abandoning import Abandoning
from infra_tasks.ledger.auditing import Auditing
from infra_tasks.ledger.bringing import Bringing
from infra_tasks.ledger.cancelling import Cancelling
from infra_tasks.ledger.claims import Claims
from infra_tasks.ledger.code import Code
from infra_tasks.ledger.connect import ANSWER_TIMEOUT_S, client, url_of
from infra_tasks.ledger.history import History
from infra_tasks.ledger.lines import line_of
from infra_tasks.ledger.nodes import Nodes
from infra_tasks.ledger.runs import Runs
from infra_tasks.ledger.saving import Saving
from infra_tasks.ledger.schedules import Schedules
from infra_tasks.ledger.scripts import PREFIX, Scripts
from infra_tasks.ledger.search import Details, Search

if TYPE_CHECKING:
    from infra_tasks.ledger.lines import Line
    from infra_tasks.ledger.records import Run
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
    def at(cls, url: str, prefix: str = PREFIX, *, socket_timeout_s: float = ANSWER_TIMEOUT_S) -> Ledger:
        """Return the ledger at a Redis address. Nothing is sent yet."""
        scripts = Scripts(client(url, socket_timeout=socket_timeout_s), prefix)
        return cls(scripts, Runs(scripts), Claims(scripts), Nodes(scripts), Code(scripts), Bringing(scripts))

    @property
    def cancelling(self) -> Cancelling:
        """Cancels many runs at once."""
        return Cancelling(self.scripts, self.runs)

    @property
    def auditing(self) -> Auditing:
        """Reads it for an audit."""
        return Auditing(self.scripts, self.runs)

    @property
    def history(self) -> History:
        """What leaves it."""
        return History(self.scripts)

    @property
    def saving(self) -> Saving:
        """Has its Redis write a copy of it."""
        return Saving(self.scripts)

    @property
    def abandoning(self) -> Abandoning:
        """Gives up runs of silent nodes."""
        return Abandoning(self.scripts, self.runs)

    @property
    def schedules(self) -> Schedules:
        """The schedules of users."""
        return Schedules(self.scripts)

    def line_of(self, run: Run) -> Line | None:
        """Return the line a waiting run stands in, None when it waits for nothing but a slot."""
        return line_of(self.scripts, run)

    def search(self) -> Search:
        """Return a new search; used again and again it reads only what may have changed."""
        return Search(self.scripts, self.runs)

    def details(self) -> Details:
        """Return a new reader of whole records, which remembers what it has read."""
        return Details(self.runs)

    def answers(self) -> bool:
        """Say whether Redis answers right now. Raises FleetUnreachable when not."""
        return bool(self.scripts.persistently(self.scripts.client.ping, patience_s=0))

    def close(self) -> None:
        """Give the connections back."""
        self.scripts.client.close()


def open_ledger(home: Home, *, answer_within_s: float = ANSWER_TIMEOUT_S) -> Ledger:
    """Return the ledger of the fleet this folder belongs to. Raises FleetUnreachable, BadFleet."""
    return Ledger.at(url_of(home), socket_timeout_s=answer_within_s)
