"""What `infra top` sees of the fleet at one look: its nodes and its live runs, what runs now first."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from infra_tasks.cli import run_view
from infra_tasks.cli.nodes_view import NodeView, views
from infra_tasks.cli.own_node import own_node
from infra_tasks.cli.top.model import Row
from infra_tasks.ledger.connect import FleetFile
from infra_tasks.ledger.search import FIELDS
from infra_tasks.model.run import State

if TYPE_CHECKING:
    from collections.abc import Collection

    from infra_tasks.ledger import Ledger
    from infra_tasks.ledger.records import Run
    from infra_tasks.settings import Home

# Of the runs that wait; what nodes have claimed is looked at all.
NEWEST = 200


@dataclass(frozen=True)
class Snapshot:
    """`now`: wall seconds of Redis' clock. `counts`: of all runs, by state."""

    fleet: str
    nodes: list[NodeView]
    rows: list[Row]
    counts: dict[str, int]
    now: float

    @property
    def not_shown(self) -> int:
        """How many live runs there are beside the rows."""
        live = sum(count for state, count in self.counts.items() if state not in run_view.FINAL_STATES)
        return max(0, live - len(self.rows))

    def as_json(self) -> dict[str, Any]:
        """Return it as `infra top --json` prints it."""
        return {
            "fleet": self.fleet,
            "nodes": [node.as_json() for node in self.nodes],
            "counts": self.counts,
            "runs": [
                {
                    "id": row.id,
                    "state": row.state,
                    "node": row.node or None,
                    "project": row.project or None,
                    "what": row.what,
                    "since": row.since,
                    "cancel_asked": row.asked,
                }
                for row in self.rows
            ],
        }


class Looking:
    """Looks over one connection; what was read of a run once is not read again."""

    def __init__(self, home: Home, ledger: Ledger) -> None:
        self._home, self._ledger = home, ledger
        self._fleet = FleetFile(home)
        self._search, self._details = ledger.search(), ledger.details()

    def __call__(self) -> Snapshot:
        """Look once. Raises FleetUnreachable."""
        fleet = self._fleet.current()
        seen = self._ledger.nodes.all(also=fleet.nodes)
        nodes = views(fleet, seen, self._ledger.code.releases(), own_node(self._home, fleet))
        silent, runs = run_view.silent_nodes(seen), self._live([node.name for node in seen])
        rows = [_row(run, silent) for run in self._details.of(runs)]
        return Snapshot(fleet.name, nodes, rows, self._ledger.runs.counts(), self._ledger.nodes.now())

    def _live(self, nodes: list[str]) -> list[Run]:
        newest = self._search.newest(lambda run: not run.final, NEWEST, live_only=True, most=NEWEST).runs
        known = {run.id for run in newest}
        claimed = [run_id for run_id in self._ledger.nodes.runs_on(nodes) if run_id not in known]
        return newest + [run for run in self._ledger.runs.some(claimed, FIELDS) if not run.final]


def _row(run: Run, silent: Collection[str]) -> Row:
    began_at = run.at("claimed_at") if run.state == State.STARTED else None
    return Row(
        run.id,
        run_view.shown_state(run, silent),
        run.claim_node if run.state == State.STARTED else run.node,
        run.project,
        run_view.what(run),
        began_at or run.at("submitted_at") or 0.0,
        bool(run.cancel),
    )
