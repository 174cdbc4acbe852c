"""Names of queues, and which queue a run belongs to. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

GUARDIAN = "guardian"
# Celery's default queue: where a client that knows nothing of us sends `infra_tasks.run_spec`.
FOREIGN = "celery"
# Not a word a label can be.
ANY = "_any"


def node_queue(node: str) -> str:
    """Return the queue of runs that only this node may take."""
    return f"node.{node}"


def pool_queue(labels: Iterable[str]) -> str:
    """Return the queue of runs that any node with all these labels may take."""
    return "pool." + ("+".join(sorted(labels)) or ANY)


def is_pool(queue: str) -> bool:
    """Say whether several nodes may take runs from this queue."""
    return queue.startswith("pool.")


def dispatch_queue(node: str) -> str:
    """Return the queue of the node that has the source."""
    return f"dispatch.{node}"


def queue_of(node: str | None, labels: Iterable[str]) -> str:
    """Return where a spec with this node and these labels waits for a slot."""
    return node_queue(node) if node else pool_queue(labels)


def serves(queue: str, node: str, labels: Iterable[str]) -> bool:
    """Say whether a node with these labels may take runs from this queue."""
    if is_pool(queue):
        wanted = queue.removeprefix("pool.")
        return wanted == ANY or set(wanted.split("+")) <= set(labels)
    return queue == node_queue(node)
