"""Reads one JSON object as a person wrote it: nothing said twice, and a mistake shown with its line."""

from __future__ import annotations

import json
import re
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn

from infra_tasks.model.complaints import Complaint, path_text
from infra_tasks.model.placed import Place, pointed

BYTE_ORDER_MARK = "\ufeff"  # some editors put it in front; it means nothing in UTF-8
UTF_16 = (b"\xff\xfe", b"\xfe\xff")
SCHEMA = "$schema"  # a key for editors; it says nothing itself
TWICE = "written more than once; say it once"
HINT = "JSON knows no comments, no comma behind the last entry, and only double quotes"


if TYPE_CHECKING:
    from collections.abc import Callable

_WHITE = re.compile(r"[ \t\r\n]*")


class NotStrictJson(ValueError):
    """The text is not one JSON object; `problems` says each thing that is wrong."""

    def __init__(self, *problems: str | Complaint) -> None:
        self.problems = [each if isinstance(each, Complaint) else Complaint((), each) for each in problems]
        super().__init__("\n".join(each.said for each in self.problems))


def read_object(text: str | bytes) -> dict[str, Any]:
    """Return the one object in `text`; raise NotStrictJson for anything else, or if an object has a key twice."""
    text = decoded(text)
    if not text.strip():
        raise NotStrictJson("the file is empty; an object in { } is wanted")
    value = _loaded(text)
    if not isinstance(value, dict):
        raise NotStrictJson(f"the whole is {kind_of(value)}; an object in {{ }} is wanted")
    twice = said_twice(value)
    if twice:
        raise NotStrictJson(*sorted(Complaint(path, f"{path_text(path)}: {TWICE}", about_key=True) for path in twice))
    return value


def read_values(text: str) -> list[tuple[int, Any]]:
    """Return all values in a text, one behind the other, with where each begins. Raises NotStrictJson.

    Of a key that is said twice the last one counts: see `said_twice`.
    """
    decoder = json.JSONDecoder(object_pairs_hook=_object, parse_constant=_refuse_constant)
    found, at = [], _behind_white(text, 0)
    while at < len(text):
        value, end = _parsed(text, partial(decoder.raw_decode, text, at))
        found.append((at, value))
        at = _behind_white(text, end)
    return found


def said_twice(root: Any) -> list[tuple[str | int, ...]]:
    """Return the paths of keys that were written more than once."""
    found: list[tuple[str | int, ...]] = []
    waiting: list[tuple[tuple[str | int, ...], Any]] = [((), root)]
    while waiting:
        path, value = waiting.pop()
        if isinstance(value, _Object):
            found += [(*path, key) for key in value.twice]
            waiting += [((*path, key), each) for key, each in value.items()]
        elif isinstance(value, list):
            waiting += [((*path, index), each) for index, each in enumerate(value)]
    return found


def decoded(text: str | bytes) -> str:
    """Return what was read from a file as text, without a byte order mark. Raises NotStrictJson."""
    if isinstance(text, bytes):
        text = _decoded(text)
    return text.removeprefix(BYTE_ORDER_MARK)


def kind_of(value: object) -> str:
    """Return what a value is, in words."""
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    names = {"str": "a text", "list": "a list", "dict": "an object", "_Object": "an object"}
    return names.get(type(value).__name__, "a number")


class _Object(dict[str, Any]):
    """A JSON object that remembers which of its keys were written twice."""

    twice: tuple[str, ...] = ()


def _decoded(text: bytes) -> str:
    if text.startswith(UTF_16):
        raise NotStrictJson("it is UTF-16 text; save the file as UTF-8")
    try:
        return text.decode("utf-8")
    except UnicodeDecodeError as error:
        line = text[: error.start].count(b"\n") + 1
        raise NotStrictJson(f"line {line} is not UTF-8 text (byte {error.start}); save the file as UTF-8") from None


def _behind_white(text: str, at: int) -> int:
    white = _WHITE.match(text, at)
    return white.end() if white else at


def _loaded(text: str) -> Any:
    return _parsed(text, lambda: json.loads(text, object_pairs_hook=_object, parse_constant=_refuse_constant))


def _parsed(text: str, parse: Callable[[], Any]) -> Any:
    try:
        return parse()
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


def _syntax(text: str, error: json.JSONDecodeError) -> str:
    mark = pointed(text, Place(error.lineno, error.colno))
    return f"line {error.lineno}, column {error.colno}: {error.msg} ({HINT})\n{mark}"
