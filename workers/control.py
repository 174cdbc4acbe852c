"""The control role: a Celery worker of threads for all that is no command and so needs no slot.

It dispatches, adopts foreign messages, carries on what follows a run that nobody waited for, runs the plain tasks that
follow, takes the ticks of beat, and fetches outputs whose home is this node.
"""

from __future__ import annotations

import os
import sys
import threading

from infra_tasks import settings
from infra_tasks.ledger import open_ledger
from infra_tasks.node import NodeHere, this_node
from infra_tasks.routing import FOREIGN, GUARDIAN, dispatch_queue
from workers.role import enter

# Dispatches at once; each may wait for a disk or a slow link, and the others must not wait with it.
THREADS = 16


def main() -> int:
    """Run until told to stop. A dispatch that is cut off is taken up again by the sweep."""
    os.environ["INFRA_ROLE"] = "control"
    pulse = enter("control")
    me = this_node(settings.home())
    os.environ["INFRA_NODE"] = me.name
    from infra_tasks.app import app  # noqa: PLC0415  reads INFRA_ROLE and INFRA_NODE
    from workers.celery_role import mend, serve  # noqa: PLC0415
    from workers.taking_up import TakeUp  # noqa: PLC0415
    from workers.threads import Threads  # noqa: PLC0415

    mend(dispatch_queue(me.name))
    fetch_outputs()
    app.steps["consumer"].add(TakeUp)
    return serve(
        app,
        pulse,
        hostname=f"control@{me.name}",
        pool_cls=Threads,
        concurrency=THREADS,
        queues=[dispatch_queue(me.name), GUARDIAN, FOREIGN],
    )


def fetch_outputs() -> None:
    """Bring outputs whose home is this node, in a thread: a dispatch must not wait behind gigabytes."""
    from infra_tasks.fetch import Fetcher  # noqa: PLC0415
    from infra_tasks.releases.remote.fetch import fetch_files  # noqa: PLC0415

    home = settings.home()
    fetcher = Fetcher(NodeHere(home).current, open_ledger(home), fetch_files)
    threading.Thread(target=fetcher.run, name="fetch", daemon=True).start()


if __name__ == "__main__":
    sys.exit(main())
