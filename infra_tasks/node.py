"""Who this node is: its name in nodes.json, its place there, and the uuid in its root."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

from infra_tasks.errors import BadFleet
from infra_tasks.ledger.connect import FleetFile, fleet_of
from infra_tasks.model.sketch import local_node

if TYPE_CHECKING:
    from infra_tasks.model.fleet import Fleet, Node
    from infra_tasks.model.sketch import Sketch
    from infra_tasks.settings import Home


@dataclass(frozen=True)
class ThisNode:
    """This node, as nodes.json said when it was asked."""

    home: Home
    fleet: Fleet
    name: str
    uuid: str

    @property
    def node(self) -> Node:
        """Its entry in nodes.json."""
        return self.fleet.nodes[self.name]


def name_here(home: Home, fleet: Fleet | Sketch) -> str | None:
    """Return the name of the node that lives in this folder, or None."""
    return local_node(fleet.nodes, home.root.resolve(), lambda text: Path(text).expanduser().resolve())


def this_node(home: Home) -> ThisNode:
    """Return who this node is. Raises BadFleet when no node of nodes.json lives in this folder."""
    fleet = fleet_of(home)
    name = name_here(home, fleet)
    if name is None:
        raise BadFleet(
            f"{home.nodes_json}: no node with ssh 'local' has the root {home.root}; its nodes are "
            f"{', '.join(fleet.nodes)}. Set INFRA_HOME to the root of one of them, or mend 'root'."
        )
    return ThisNode(home, fleet, name, _uuid(home, name))


class NodeHere:
    """Who this node is, following nodes.json as it changes."""

    def __init__(self, home: Home) -> None:
        self._home = home
        self._file = FleetFile(home)
        self._me = this_node(home)

    def current(self) -> ThisNode:
        """Return this node as nodes.json says now; as it said before while the file is broken or forgot this node."""
        fleet = self._file.current()
        if fleet is not self._me.fleet:
            name = name_here(self._home, fleet)
            if name == self._me.name:
                self._me = ThisNode(self._home, fleet, name, self._me.uuid)
        return self._me


def _uuid(home: Home, name: str) -> str:
    """Return the uuid of this root, written once: a second machine with the same name has another one."""
    try:
        return str(json.loads(home.node_json.read_text())["uuid"])
    except FileNotFoundError:
        pass
    home.root.mkdir(parents=True, exist_ok=True)
    beside = home.node_json.with_name(f".node.{os.getpid()}.{uuid4().hex[:8]}")
    beside.write_text(json.dumps({"name": name, "uuid": str(uuid4())}))
    try:
        os.link(beside, home.node_json)
    except FileExistsError:
        pass
    finally:
        beside.unlink()
    return str(json.loads(home.node_json.read_text())["uuid"])
