"""Finds the places of the parts of a JSON text that has been read already: only a mistake needs them. Pure."""

from __future__ import annotations

import json
import re
from bisect import bisect_right
from typing import TYPE_CHECKING, Any

from infra_tasks.model.placed import Place, Written

if TYPE_CHECKING:
    from collections.abc import Iterator

_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\],:]|[^\s{}\[\],:"]+', re.DOTALL)


def json_places(text: str, start: int = 0) -> Written:
    """Return the JSON value that begins at `start`, with its places. The text must be right."""
    return _Reader(text, start).value()


class _Reader:
    """Goes through the tokens of a text. What is nested deeper than Python's stack was refused before."""

    def __init__(self, text: str, start: int) -> None:
        self._lines = [0, *(found.end() for found in re.finditer("\n", text))]
        self._tokens: Iterator[re.Match[str]] = _TOKEN.finditer(text, start)

    def value(self, token: re.Match[str] | None = None) -> Written:
        token = token or next(self._tokens)
        place = self._place(token.start())
        if token[0] == "{":
            members, keys = self._members()
            return Written(members, place, keys)
        return Written(self._items() if token[0] == "[" else _scalar(token[0]), place)

    def _members(self) -> tuple[dict[str, Written], dict[str, Place]]:
        members: dict[str, Written] = {}
        keys: dict[str, Place] = {}
        while (token := next(self._tokens))[0] != "}":
            if token[0] == ",":
                continue
            key = json.loads(token[0], strict=False)
            keys[key] = self._place(token.start())
            next(self._tokens)  # the colon
            members[key] = self.value()
        return members, keys

    def _items(self) -> list[Written]:
        items = []
        while (token := next(self._tokens))[0] != "]":
            if token[0] != ",":
                items.append(self.value(token))
        return items

    def _place(self, offset: int) -> Place:
        line = bisect_right(self._lines, offset)
        return Place(line, offset - self._lines[line - 1] + 1)


def _scalar(text: str) -> Any:
    return json.loads(text, strict=False)
