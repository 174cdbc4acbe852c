"""Reads nodes.json and prints what of it concerns this node's roles, as JSON: `python -m workers.node_plan`.

What was found right is kept as nodes.accepted.json: a role that dies while the file is broken comes back from that.

    {"embedded": true, "env": {"worker": {"INFRA_NODE": "mac-1", "INFRA_FLEET": "3f0c..."}, ...}}

`INFRA_FLEET` is a digest of the parts of nodes.json the role reads itself: a change there renews the role.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from infra_tasks.errors import BadFleet, InfraError
from infra_tasks.model.broker_url import EMBEDDED
from infra_tasks.model.fleet import Fleet, parse_fleet
from infra_tasks.model.sketch import local_node
from infra_tasks.settings import home as home_of
from workers.json_file import read_json

if TYPE_CHECKING:
    from infra_tasks.settings import Home

# What of nodes.json each role depends on: its node's own entry is always among it.
READS = {
    "agent": ("broker", "limits"),
    "control": ("broker", "limits", "nodes", "projects"),
    "worker": ("broker", "limits"),
    "beat": ("broker",),
    "flower": ("broker", "flower"),
}


def keep_accepted(home: Home, text: bytes) -> None:
    """Keep what was found right, unless it is kept already. It may hold a password."""
    with suppress(FileNotFoundError):
        if home.accepted_json.read_bytes() == text:
            return
    beside = home.accepted_json.with_name(f".nodes.accepted.{os.getpid()}")
    with open(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:  # noqa: PTH123
        file.write(text)
    beside.rename(home.accepted_json)


def node_plan(fleet: Fleet, node: str) -> dict[str, Any]:
    """Return what the watcher of `node` has to know."""
    whole = fleet.model_dump(mode="json", by_alias=True)
    env = {
        role: {"INFRA_NODE": node, "INFRA_FLEET": _digest([whole["nodes"][node], *(whole[part] for part in parts)])}
        for role, parts in READS.items()
    }
    return {"embedded": fleet.broker == EMBEDDED, "env": env}


def _digest(parts: list[Any]) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


def read_plan(home: Home) -> dict[str, Any]:
    """Return the plan of the node in `home`, and keep the nodes.json it came from. Raises BadFleet."""
    try:
        text = home.nodes_json.read_bytes()
    except OSError as error:
        raise BadFleet(f"{home.nodes_json} cannot be read: {error.strerror}; `infra init` writes one") from error
    fleet = parse_fleet(text, str(home.nodes_json))
    node = _own_name(fleet, home)
    if node is None:
        raise BadFleet(f'{home.nodes_json}: no node has "ssh": "local" and the root {home.root}')
    with suppress(OSError):  # a full disk: what was accepted before stays
        keep_accepted(home, text)
    return node_plan(fleet, node)


def _own_name(fleet: Fleet, home: Home) -> str | None:
    """Return who this node is: as written once into node.json, else by where its root is."""
    name = read_json(home.node_json).get("name")
    if name in fleet.nodes:
        return str(name)
    return local_node(fleet.nodes, home.root, lambda written: Path(written).expanduser())


def main() -> int:
    """Print the plan; return the exit code."""
    try:
        print(json.dumps(read_plan(home_of())))  # noqa: T201  this is what it is for
    except InfraError as error:
        print(error, file=sys.stderr)  # noqa: T201
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
