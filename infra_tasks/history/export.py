"""Exports what is older than the history, and only then has the ledger forget it.

Killed in between, it exports the same runs again; readers drop doubles by id. One node does it: the first of nodes.json
that lives, under a lease of the ledger. When that one is away the next does, so that the archives of several nodes
together hold all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from infra_tasks.history.archive import Archive

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from infra_tasks.ledger import Ledger
    from infra_tasks.node import ThisNode

DAY_S = 86400.0


def archivist(nodes: Iterable[str], reachable: Collection[str]) -> str | None:
    """Return which node exports: the first that lives."""
    return next((name for name in nodes if name in reachable), None)


class Export:
    """Batch after batch. `skip` remembers how many old runs stay because something still follows them."""

    def __init__(self, ledger: Ledger) -> None:
        self._history, self._nodes = ledger.history, ledger.nodes
        self._skip = 0

    def is_mine(self, me: ThisNode) -> bool:
        """Say whether this node is the one that exports now. Raises FleetUnreachable."""
        reachable = {node.name for node in self._nodes.all() if node.reachable}
        return archivist(me.fleet.nodes, reachable) == me.name

    def batch(self, me: ThisNode) -> int:
        """Export one batch and have it forgotten; return how many went, 0 when nothing is left to do.

        Raises FleetUnreachable, OSError: nothing that is not on the disk is forgotten.
        """
        history_s = float(me.fleet.limits.history_days) * DAY_S
        leaving = self._history.leaving(me.name, history_s, skip=self._skip)
        self._skip = leaving.skip
        if not leaving.ids:
            return 0
        if me.fleet.archive:
            Archive(me.home).add([past for past in self._history.read(leaving.ids) if past.run.final])
        return self._history.forget(leaving.ids, history_s, exported=me.fleet.archive)
