"""Who can give a release to this node: its own source, the node that has the source, and nodes that hold it."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from infra_tasks.errors import FleetUnreachable
from infra_tasks.releases import Source
from infra_tasks.releases.remote.lines import lines_of
from infra_tasks.releases.remote.peer import peer_of
from infra_tasks.releases.remote.pull import PullCarrier
from infra_tasks.releases.supply import Several

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    from infra_tasks.ledger import Ledger
    from infra_tasks.model.fleet import Fleet
    from infra_tasks.node import ThisNode
    from infra_tasks.releases.remote.peer import Peer


def source_here(me: ThisNode, project: str) -> Source | None:
    """Return the source of a project, if this is the node that has it."""
    known = me.fleet.projects.get(project)
    if known is None or known.node != me.name:
        return None
    return Source(Path(known.source).expanduser(), known.exclude)


def in_order(fleet: Fleet, asking: str, project: str, holders: Collection[str]) -> list[str]:
    """Return the nodes to ask over ssh: first the one that has the source, then those that hold the release. Pure."""
    known = fleet.projects.get(project)
    first = [known.node] if known else []
    wanted = dict.fromkeys([*first, *sorted(holders)])
    return [name for name in wanted if name != asking and name in fleet.nodes and not fleet.nodes[name].is_local]


@dataclass(frozen=True)
class Supply:
    """Whoever can give one release to this node, as one carrier."""

    carrier: Several
    fetching: PullCarrier
    here: str

    @property
    def source(self) -> str:
        """The node that gave what was missing."""
        return self.fetching.fetched_from or self.here


@contextmanager
def supplying(
    me: ThisNode, ledger: Ledger, project: str, digest: str, wanted: Callable[[], bool] = lambda: True
) -> Iterator[Supply]:
    """Give the supply of one release. Nobody is asked for anything before something is missing.

    A transfer that is not `wanted` any more is ended.
    """

    def peers() -> list[Peer]:
        try:
            holders = ledger.code.holders(project, digest)
        except FleetUnreachable:
            holders = []
        return [peer_of(me.fleet, name) for name in in_order(me.fleet, me.name, project, holders)]

    with PullCarrier(me.home, lambda: lines_of(me.home), project, digest, peers, wanted) as fetching:
        yield Supply(Several.of(source_here(me, project), fetching), fetching, me.name)
