"""Where a project's source is on this node, as its nodes.json says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from infra_tasks.errors import BadFleet
from infra_tasks.model.fleet import parse_fleet
from infra_tasks.releases.layout import Source

if TYPE_CHECKING:
    from infra_tasks.settings import Home


def source_of(home: Home, project: str) -> Source | None:
    """Return the source of a project whose node this is; None for any other. Raises BadFleet."""
    try:
        fleet = parse_fleet(home.nodes_json.read_text(encoding="utf-8-sig"), str(home.nodes_json))
    except BadFleet:
        fleet = parse_fleet(home.accepted_json.read_bytes(), str(home.accepted_json))
    known = fleet.projects.get(project)
    if known is None or known.node != json.loads(home.node_json.read_text())["name"]:
        return None
    return Source(Path(known.source).expanduser(), known.exclude)
