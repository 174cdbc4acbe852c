"""Small JSON files: written beside, then renamed, so that a reader sees the old one or the new one, never half."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path


def write_json(path: Path, value: dict[str, Any]) -> None:
    """Replace `path` by `value`."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    beside.write_text(json.dumps(value) + "\n")
    beside.replace(path)


def read_json(path: Path) -> dict[str, Any]:
    """Return the object in `path`; an empty one when there is none that can be read."""
    try:
        value = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}
