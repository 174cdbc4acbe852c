"""Patterns of files, as a spec's `outputs` says them: what is allowed, and which paths they mean. Pure.

`*`, `?` and `[...]` stand for characters within a name, `**` for any number of folders; a pattern that means a folder
means all that lies below it. Names that begin with a dot are names like others. A name that is written out means
itself, also where it holds a `[`.
"""

from __future__ import annotations

import re
import unicodedata
from fnmatch import translate
from typing import TYPE_CHECKING, Annotated

from pydantic import AfterValidator, Field

from infra_tasks.model.allowed import IN_WORDS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

RULE = "a path or pattern below the folder the command runs in, like 'out/*.csv' or 'results/**', without '..' and NUL"
MAX_PATTERNS = 100
MAX_CHARACTERS = 1024
DEEP = "**"
ALL_BELOW = (DEEP, "*")


def _pattern(text: str) -> str:
    is_text = text.encode(errors="ignore").decode() == text  # no halves of characters
    if not text.strip() or not is_text or text.startswith(("/", "~/")) or ".." in text.split("/") or "\0" in text:
        raise ValueError(f"allowed: {RULE}")
    return text


Pattern = Annotated[str, AfterValidator(_pattern), Field(max_length=MAX_CHARACTERS, json_schema_extra={IN_WORDS: RULE})]

# How far each pattern has come along a path: of each, the parts that may come next.
Places = tuple[frozenset[int], ...]


class Patterns:
    """Some patterns, followed along the names of a path: `step` by `step` from `begin`, as a walk goes down a tree."""

    def __init__(self, texts: Sequence[str]) -> None:
        self.texts = tuple(texts)
        self._ways = [_Way(text) for text in texts]

    def begin(self) -> Places:
        """Return where all patterns stand at the top folder."""
        return tuple(way.at(0) for way in self._ways)

    def step(self, places: Places, name: str) -> Places:
        """Return where they stand behind one more name."""
        name = _one_spelling(name)
        return tuple(way.step(place, name) if place else place for way, place in zip(self._ways, places, strict=True))

    def meant(self, places: Places) -> list[int]:
        """Return which of the patterns mean the path that led here."""
        return [at for at, (way, place) in enumerate(zip(self._ways, places, strict=True)) if way.end in place]

    @staticmethod
    def lead_on(places: Places) -> bool:
        """Say whether something below the path that led here can be meant."""
        return any(places)


class _Way:
    """One pattern as its parts."""

    def __init__(self, text: str) -> None:
        parts = [part for part in _one_spelling(text).split("/") if part not in {"", "."}]
        # `**/**` means no more than `**`, and hundreds of them would be followed one by one.
        said = [part for part, before in zip(parts, ["", *parts], strict=False) if not part == before == DEEP]
        if not said:
            said = [*ALL_BELOW]  # the folder itself
        elif text.endswith("/"):
            said += ALL_BELOW
        elif said[-1] == DEEP:
            said.append("*")
        self._parts = [None if part == DEEP else _segment(part) for part in said]
        self.end = len(self._parts)

    def at(self, part: int) -> frozenset[int]:
        """Return the parts that may come next at this one: `**` may stand for no folder at all."""
        here = {part}
        while part < self.end and self._parts[part] is None:
            part += 1
            here.add(part)
        return frozenset(here)

    def step(self, place: frozenset[int], name: str) -> frozenset[int]:
        found: set[int] = set()
        for part in place:
            if part == self.end:
                found.add(part)  # all below what is meant is meant
                continue
            fits = self._parts[part]
            if fits is None:
                found |= self.at(part)
            elif fits(name):
                found |= self.at(part + 1)
        return frozenset(found)


def _segment(text: str) -> Callable[[str], bool]:
    if not any(mark in text for mark in "*?["):
        return text.__eq__
    fits = re.compile(translate(text)).match
    return lambda name: name == text or fits(name) is not None


def _one_spelling(text: str) -> str:
    """Return the NFC form: some disks give names back in another form than they were given."""
    return text if text.isascii() else unicodedata.normalize("NFC", text)
