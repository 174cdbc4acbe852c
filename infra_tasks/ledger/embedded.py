"""Where the Redis that a node runs itself can be reached: port and password from the node's folder. No Redis here."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from infra_tasks.errors import FleetUnreachable

if TYPE_CHECKING:
    from infra_tasks.settings import Home


def url(home: Home) -> str:
    """Return redis://:password@127.0.0.1:port/0. Raises FleetUnreachable when this node never ran its Redis."""
    try:
        port = int(json.loads(home.ports_json.read_text())["redis"])
        password = (home.secrets / "redis.password").read_text().strip()
    except (OSError, ValueError, KeyError):
        raise FleetUnreachable(f"the Redis of {home.root} was never started; start the node with `infra up`") from None
    return f"redis://:{password}@127.0.0.1:{port}/0"
