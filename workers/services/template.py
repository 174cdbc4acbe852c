"""Fills the `@NAME@` places of a template; a place without a value, or a value without a place, is an error."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

PLACE = re.compile(r"@([A-Z_]+)@")


def fill(template: str, values: Mapping[str, str]) -> str:
    """Return the template with its places filled. Raises KeyError naming what does not match."""
    places = set(PLACE.findall(template))
    if places != set(values):
        raise KeyError(f"template and values differ in {', '.join(sorted(places ^ set(values)))}")
    return PLACE.sub(lambda place: values[place[1]], template)
