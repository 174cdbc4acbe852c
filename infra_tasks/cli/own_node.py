"""What this node's own folder tells of it, for lists of all nodes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from infra_tasks import roles
from infra_tasks.cli.nodes_view import Own
from infra_tasks.node import name_here

if TYPE_CHECKING:
    from infra_tasks.model.fleet import Fleet
    from infra_tasks.settings import Home


def own_node(home: Home, fleet: Fleet) -> Own:
    """Look at the files of this node."""
    return Own(name_here(home, fleet), roles.told(home), roles.watcher(home) is not None)
