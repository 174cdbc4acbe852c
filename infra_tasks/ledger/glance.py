"""nodes.json at a glance: what was found right by a role of this node is not gone through again."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from infra_tasks.model.sketch import Sketch, sketched

if TYPE_CHECKING:
    from infra_tasks.settings import Home

BYTE_ORDER_MARK = "utf-8-sig"


def glance(home: Home) -> Sketch:
    """Return the fleet this folder belongs to, as far as a quick look needs it. Raises BadFleet, FleetUnreachable."""
    text = _read_if_accepted(home)
    if text is not None:
        return sketched(json.loads(text.decode(BYTE_ORDER_MARK)))
    from infra_tasks.ledger.connect import fleet_of  # noqa: PLC0415  pydantic

    return sketched(fleet_of(home).model_dump(mode="json", by_alias=True))


def _read_if_accepted(home: Home) -> bytes | None:
    try:
        text = home.nodes_json.read_bytes()
        return text if home.accepted_json.read_bytes() == text else None
    except OSError:
        return None
