"""A value as it was written in a text: every part of it with its line and column, both counted from 1. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

SHOWN_CHARACTERS = 100


class Place(NamedTuple):
    """Where something begins in a text."""

    line: int
    column: int


@dataclass(slots=True)
class Written:
    """A value and its place: a scalar, a list of Written, or a dict of them (then `keys` says where its keys are)."""

    value: Any
    place: Place
    keys: dict[str, Place] | None = None


def place_of(written: Written, path: Sequence[str | int], *, about_key: bool = False) -> Place:
    """Return where the value under `path` is, or its key; of what was not written, where it is missing."""
    at = written
    for index, step in enumerate(path):
        if about_key and index == len(path) - 1 and at.keys and isinstance(step, str) and step in at.keys:
            return at.keys[step]
        inside = _inside(at, step)
        if inside is None:
            break
        at = inside
    return at.place


def pointed(text: str, place: Place) -> str:
    """Return the line of a place, and below it a mark at the column."""
    # Splitting as parsers count (at \n only), so that line and column fit.
    line = text.split("\n")[place.line - 1].rstrip("\r")
    start = max(0, place.column - 1 - SHOWN_CHARACTERS // 2)
    shown = "".join(each if each.isprintable() else " " for each in line[start : start + SHOWN_CHARACTERS])
    return f"    {shown}\n    {' ' * (place.column - 1 - start)}^"


def _inside(written: Written, step: str | int) -> Written | None:
    if isinstance(written.value, dict):
        found = written.value.get(step)
    elif isinstance(written.value, list) and isinstance(step, int) and step < len(written.value):
        found = written.value[step]
    else:
        return None
    return found if isinstance(found, Written) else None
