"""Where the node's own Redis is: its port and password lie in files of the node's folder."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from infra_tasks.errors import FleetUnreachable

if TYPE_CHECKING:
    from infra_tasks.settings import Home


def url(home: Home) -> str:
    """Return `redis://:password@127.0.0.1:port/0`, password included: never print it.

    Read anew for every connection: the port changes when a stranger took it. Raises FleetUnreachable while the
    embedded Redis was never started.
    """
    try:
        port = int(json.loads(home.ports_json.read_bytes())["redis"])
        password = (home.secrets / "redis.password").read_text().strip()
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise FleetUnreachable(
            f"the embedded Redis of {home.root} was never started ({type(error).__name__}: {error}). "
            "Start the node with `infra up`."
        ) from error
    return f"redis://:{password}@127.0.0.1:{port}/0"
