"""The outputs of a run as the command line shows them: in a few words."""

from __future__ import annotations

import json
from typing import Any

from infra_tasks.cli.printing import size

MOST_SHOWN = 5

Outputs = dict[str, Any]


def facts(outputs: Outputs | None) -> list[tuple[str, str | None]]:
    """Return the lines about outputs; none when nobody asked for any."""
    if not outputs:
        return []
    left_out = [f"{shown(one['path'])} ({one['why']})" for one in outputs["left_out"]]
    return [
        ("outputs", words(outputs)),
        ("missing", _first([shown(pattern) for pattern in outputs["missing"]])),
        ("left out", _first(left_out)),
        ("trouble", outputs["error"]),
    ]


def words(outputs: Outputs) -> str:
    """Return how many there are, and where."""
    count = outputs["count"]
    what = (
        "no file" if not count else f"{count} file{'' if count == 1 else 's'}, {size(outputs['size_bytes']) or '0 B'}"
    )
    if outputs["brought"]:
        return f"{what} in {outputs['folder']} on {outputs['home']}"
    return f"{what} on {outputs['node']}, not on {outputs['home']} yet"


def _first(texts: list[str]) -> str | None:
    more = len(texts) - MOST_SHOWN
    return ", ".join([*texts[:MOST_SHOWN], *([f"and {more} more"] if more > 0 else [])]) or None


def shown(text: str) -> str:
    """Return a name as one line of printable characters, however odd it is."""
    return text if text.isprintable() and text.strip() == text else json.dumps(text)
