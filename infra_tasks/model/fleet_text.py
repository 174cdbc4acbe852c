"""nodes.json as a text: where its mistakes and its values stand in it. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from infra_tasks.model.json_places import json_places
from infra_tasks.model.placed import Written, place_of
from infra_tasks.model.strict_json import NotStrictJson, decoded, read_values

if TYPE_CHECKING:
    from collections.abc import Sequence

    from infra_tasks.model.complaints import Complaint


def told_with_places(problems: Sequence[Complaint], text: str | bytes, name: str) -> str:
    """Return what is wrong with nodes.json, each with line and column where the text can be read so far."""
    count = len(problems)
    head = f"{name} has {'a mistake' if count == 1 else f'{count} mistakes'}:"
    written = places_in(text)
    if written is None:
        return "\n".join([head, *(each.said for each in problems)])
    placed = sorted(
        (place_of(written, each.path, about_key=each.about_key), index) for index, each in enumerate(problems)
    )
    lines = [f"{name}:{place.line}:{place.column}: {problems[index].said}" for place, index in placed]
    return "\n".join([head, *lines])


def places_in(text: str | bytes) -> Written | None:
    """Return the one value of a text with its places; None if there is not one that can be read."""
    try:
        whole = decoded(text)
        values = read_values(whole)
    except NotStrictJson:
        return None
    return json_places(whole, values[0][0]) if len(values) == 1 else None


def line_of(written: Written | None, path: Sequence[str | int]) -> int | None:
    """Return the line a value stands in, None if it is not written there."""
    at = written
    for step in path:
        inside = at.value.get(step) if at is not None and isinstance(at.value, dict) else None
        if not isinstance(inside, Written):
            return None
        at = inside
    return at.place.line if at else None
