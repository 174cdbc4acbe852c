"""Reads one JSON object as a person wrote it: nothing said twice, and a mistake shown with its line."""

from __future__ import annotations

import json
from typing import Any, NoReturn

from infra_tasks.model.complaints import path_text

BYTE_ORDER_MARK = "\ufeff"  # some editors put it in front; it means nothing in UTF-8
SHOWN_CHARACTERS = 100
HINT = "JSON knows no comments, no comma behind the last entry, and only double quotes"


class NotStrictJson(ValueError):
    """The text is not one JSON object; `problems` has a sentence for each thing that is wrong."""

    def __init__(self, *problems: str) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


def read_object(text: str | bytes) -> dict[str, Any]:
    """Return the one object in `text`; raise NotStrictJson for anything else, or if an object has a key twice."""
    text = _decoded(text).removeprefix(BYTE_ORDER_MARK)
    if not text.strip():
        raise NotStrictJson("the file is empty; an object in { } is wanted")
    value = _loaded(text)
    if not isinstance(value, dict):
        raise NotStrictJson(f"the whole is {_kind(value)}; an object in {{ }} is wanted")
    twice = _keys_said_twice(value)
    if twice:
        raise NotStrictJson(*twice)
    return value


class _Object(dict[str, Any]):
    """A JSON object that remembers which of its keys were written twice."""

    twice: tuple[str, ...] = ()


def _decoded(text: str | bytes) -> str:
    if isinstance(text, str):
        return text
    try:
        return text.decode("utf-8")
    except UnicodeDecodeError as error:
        line = text[: error.start].count(b"\n") + 1
        raise NotStrictJson(f"line {line} is not UTF-8 text (byte {error.start}); save the file as UTF-8") from None


def _loaded(text: str) -> Any:
    try:
        return json.loads(text, object_pairs_hook=_object, parse_constant=_refuse_constant)
    except json.JSONDecodeError as error:
        raise NotStrictJson(_syntax(text, error)) from None
    except RecursionError:
        raise NotStrictJson("the text is nested too deep to be read") from None
    except NotStrictJson:
        raise
    except ValueError:
        raise NotStrictJson("a number in the text has thousands of digits") from None


def _object(pairs: list[tuple[str, Any]]) -> _Object:
    made = _Object(pairs)
    if len(made) < len(pairs):
        keys = [key for key, _ in pairs]
        made.twice = tuple(key for key in made if keys.count(key) > 1)
    return made


def _refuse_constant(word: str) -> NoReturn:
    raise NotStrictJson(f"{word} is not a JSON number")


def _keys_said_twice(root: dict[str, Any]) -> list[str]:
    found: list[str] = []
    waiting: list[tuple[tuple[str | int, ...], Any]] = [((), root)]
    while waiting:
        path, value = waiting.pop()
        if isinstance(value, _Object):
            found += [f"{path_text((*path, key))}: written more than once; say it once" for key in value.twice]
            waiting += [((*path, key), each) for key, each in value.items()]
        elif isinstance(value, list):
            waiting += [((*path, index), each) for index, each in enumerate(value)]
    return sorted(found)


def _syntax(text: str, error: json.JSONDecodeError) -> str:
    # Splitting as the parser counts (at \n only), so that line and column fit.
    line = text.split("\n")[error.lineno - 1].rstrip("\r")
    start = max(0, error.colno - 1 - SHOWN_CHARACTERS // 2)
    shown = "".join(each if each.isprintable() else " " for each in line[start : start + SHOWN_CHARACTERS])
    pointer = " " * (error.colno - 1 - start) + "^"
    return f"line {error.lineno}, column {error.colno}: {error.msg} ({HINT})\n    {shown}\n    {pointer}"


def _kind(value: object) -> str:
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    return {"str": "a text", "list": "a list"}.get(type(value).__name__, "a number")
