"""Writes nodes.json: a new one, or projects added to the one that is there. What is written was checked before."""

from __future__ import annotations

import json
import os
import re
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Any

from infra_tasks.errors import BadInput
from infra_tasks.ledger.connect import fleet_of
from infra_tasks.model.fleet import new_fleet, parse_fleet
from infra_tasks.node import this_node

if TYPE_CHECKING:
    from collections.abc import Mapping

    from infra_tasks.settings import Home

FLEET_NAME = "home"
LONGEST_NAME = 40


def create(home: Home, wanted: Mapping[str, Any], projects: Mapping[str, Path]) -> None:
    """Write nodes.json of a fleet of this one node. `wanted`: name, fleet, slots, labels, as far as they were said.

    Raises BadFleet when that cannot be a fleet.
    """
    node = wanted.get("name") or default_name(socket.gethostname())
    raw = new_fleet(
        wanted.get("fleet") or FLEET_NAME,
        node,
        wanted.get("slots") or 2,
        tuple(wanted.get("labels") or ()),
        _root_text(home),
    )
    raw["projects"] = {name: _project(folder, node) for name, folder in projects.items()}
    _write(home, raw)


def refuse_changes(home: Home, wanted: Mapping[str, Any]) -> None:
    """Raise BadInput when something is wanted that nodes.json says differently: it is the user's file."""
    me = this_node(home)
    there = {"name": me.name, "fleet": me.fleet.name, "slots": me.node.slots, "labels": me.node.labels}
    other = [f"{name}: wanted {_text(value)}, there {_text(there[name])}" for name, value in wanted.items()
             if _text(value) != _text(there[name])]  # fmt: skip
    if other:
        raise BadInput("\n".join([f"{home.nodes_json} is there and says otherwise; edit it", *other]))


def add_projects(home: Home, projects: Mapping[str, Path]) -> list[str]:
    """Add the projects that are not there yet; return their names.

    Raises BadInput when one is there with another source.
    """
    fleet, node = fleet_of(home), this_node(home).name
    new: dict[str, Any] = {}
    for name, folder in projects.items():
        there = fleet.projects.get(name)
        if there is None:
            new[name] = _project(folder, node)
        elif Path(there.source).expanduser().resolve() != folder:
            raise BadInput(
                f"project {name} is in {home.nodes_json} with the source {there.source}, not {folder}; "
                "edit it there, or take another name"
            )
    if new:
        raw = json.loads(home.nodes_json.read_text(encoding="utf-8-sig"))
        raw["projects"] = {**raw.get("projects", {}), **new}
        _write(home, raw)
    return list(new)


def default_name(hostname: str) -> str:
    """Return a node's name made from the machine's: what nodes.json allows, and something in any case."""
    first = hostname.split(".", maxsplit=1)[0].lower()
    return re.sub(r"[^a-z0-9]+", "-", first).strip("-")[:LONGEST_NAME].strip("-") or "node"


def _project(folder: Path, node: str) -> dict[str, Any]:
    return {"source": str(folder), "node": node, "exclude": [], "setup": None, "private": False}


def _root_text(home: Home) -> str:
    """Return the root as nodes.json may hold it."""
    root = home.root.resolve() if ".." in home.root.parts else home.root
    return "~/.infra" if root == Path("~/.infra").expanduser() else str(root)


def _write(home: Home, raw: dict[str, Any]) -> None:
    text = json.dumps(raw, indent=2, ensure_ascii=False) + "\n"
    parse_fleet(text, str(home.nodes_json))
    home.root.mkdir(mode=0o700, parents=True, exist_ok=True)
    beside = home.nodes_json.with_name(f".nodes.json.{os.getpid()}")
    beside.write_text(text, encoding="utf-8")
    beside.replace(home.nodes_json)


def _text(value: Any) -> str:
    return ", ".join(sorted(value)) if isinstance(value, list | tuple) else str(value)
