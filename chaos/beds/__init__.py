"""What is struck. Each bed speaks of its processes by part: worker, children, agent, redis, shim ..."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    from chaos.beds.bed import Bed

BEDS = {
    "one": "chaos.beds.one:OneNode",
    "one-small": "chaos.beds.small:SmallDisks",
    "three": "chaos.beds.three:ThreeInNetwork",
    "plain": "chaos.beds.plain:PlainCelery",
    "two": "chaos.beds.three:TwoInNetwork",
}
"""Where each bed is made: `module:class`, called with a folder and, by keyword, slots and code."""


def make(name: str, folder: Path, **more: Any) -> Bed:
    """Return a bed, not up yet. `more`: slots; code: the tree the product is taken from."""
    bed: Bed = _kind(name)(folder, **more)
    return bed


def why_not(name: str) -> str:
    """Return why a bed cannot be made on this machine, "" when it can."""
    return str(getattr(_kind(name), "why_not", str)())


def _kind(name: str) -> Any:
    module, _, kind = BEDS[name].partition(":")
    return getattr(importlib.import_module(module), kind)
