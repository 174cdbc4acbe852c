"""The worker role: the Celery worker that takes hints from this node's queues, as many at once as it has slots."""

from __future__ import annotations

import gc
import os
import sys
from typing import TYPE_CHECKING, Any

from celery.signals import worker_before_create_process

from infra_tasks import settings
from infra_tasks.ledger import open_ledger
from infra_tasks.node import NodeHere
from infra_tasks.routing import is_pool, node_queue, pool_queue, serves
from workers.role import enter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from infra_tasks.node import ThisNode

LOOK_FOR_POOLS_EVERY_S = 1.0


def main() -> int:
    """Run until told to stop. What runs is left to its shims."""
    os.environ["INFRA_ROLE"] = "worker"
    pulse = enter("worker")
    here = NodeHere(settings.home())
    me = here.current()
    from infra_tasks.app import app  # noqa: PLC0415  reads INFRA_ROLE
    from workers.celery_role import every, mend, serve  # noqa: PLC0415

    mend(node_queue(me.name))
    app.steps["consumer"].add(every(LOOK_FOR_POOLS_EVERY_S, pools_of(here)))
    queues = [node_queue(me.name), pool_queue(()), pool_queue(me.node.labels)]
    worker_before_create_process.connect(_share_memory, weak=False)
    return serve(
        app, pulse, hostname=f"worker@{me.name}", concurrency=me.node.slots, queues=list(dict.fromkeys(queues))
    )


def _share_memory(**_: Any) -> None:
    """Load what every child needs, once, and keep the garbage collector from touching - and so copying - it."""
    import infra_tasks.execute  # noqa: PLC0415
    import infra_tasks.runner.launch  # noqa: F401, PLC0415

    gc.collect()
    gc.freeze()


def pools_of(here: NodeHere) -> Callable[[Any], None]:
    """Return what keeps a consumer on every pool its node may serve: pools appear as specs ask for labels.

    While the node is cordoned it takes from no pool: others do.
    """
    ledger = open_ledger(settings.home())

    def follow_pools(consumer: Any) -> None:
        me = here.current()
        taken = {queue.name for queue in consumer.task_consumer.queues or () if is_pool(queue.name)}
        wanted = set() if ledger.nodes.is_cordoned(me.name) else _pools(me, ledger.nodes.pools())
        for queue in wanted - taken:
            consumer.add_task_queue(queue)
        if not wanted:
            for queue in taken:
                consumer.cancel_task_queue(queue)

    return follow_pools


def _pools(me: ThisNode, asked_for: Iterable[str]) -> set[str]:
    """Return the pools a node serves: its own, and those specs have asked for lately."""
    labels = me.node.labels
    return {pool_queue(()), pool_queue(labels)} | {
        queue for queue in asked_for if is_pool(queue) and serves(queue, me.name, labels)
    }


if __name__ == "__main__":
    sys.exit(main())
