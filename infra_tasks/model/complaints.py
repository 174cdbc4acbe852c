"""Turns what pydantic found wrong into sentences: where, what was found, what is allowed, which word was meant."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

from infra_tasks.model.allowed import allowed, alternatives
from infra_tasks.model.nearest import did_you_mean
from infra_tasks.model.redactor import without_logins

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from pydantic import BaseModel, ValidationError
    from pydantic_core import ErrorDetails

    Path = tuple[str | int, ...]
    Schema = Mapping[str, Any]

SHOWN_CHARACTERS = 60
PLAIN_KEY = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]*")
SECRET_KEY = re.compile(r"pass(word|wd|phrase)?$|secret|token|credential", re.IGNORECASE)
ABOUT_THE_KEY = "[key]"  # pydantic puts it behind a key that is itself wrong


class Complaint(NamedTuple):
    """One thing that is wrong: `path` is where, `said` a sentence that begins with it."""

    path: Path
    said: str
    about_key: bool = False  # the key itself is wrong, not what is under it


def complaints(error: ValidationError, model: type[BaseModel]) -> list[Complaint]:
    """Return what is wrong, in the order of the input; `model` is what was validated. Nothing is said twice."""
    root = _schema(model)
    seen = [_seen(root, each) for each in error.errors(include_url=False)]
    paths = [each.path for each in seen]
    told = [each for each in seen if not (each.in_union and _explained_deeper(each.path, paths))]
    return each_once(Complaint(each.path, said, each.about_key) for each in told for said in _sentences(each, root))


def each_once(problems: Iterable[Complaint]) -> list[Complaint]:
    """Return the complaints without those that say the same as one before."""
    told: dict[str, Complaint] = {}
    for each in problems:
        told.setdefault(each.said, each)
    return list(told.values())


def path_text(path: Sequence[str | int]) -> str:
    """Return a JSON path as people write it: `nodes.mac-1.labels[0]`."""
    text = ""
    for key in path:
        if isinstance(key, int):
            text += f"[{key}]"
        elif PLAIN_KEY.fullmatch(key):
            text += f".{key}"
        else:
            text += f"[{_cut(_as_json(key))}]"
    return text.removeprefix(".")


def found(value: object) -> str:
    """Return a value as JSON would write it, short, on one line, and without the login of a URL."""
    if isinstance(value, dict):
        return "an object" if value else "an empty object"
    if isinstance(value, (list, tuple)):
        return f"a list of {len(value)}" if value else "an empty list"
    if value is None or isinstance(value, (bool, float)):
        return json.dumps(value)
    if isinstance(value, int):
        return _cut(str(value)) if abs(value) < 10**100 else "a huge number"
    if isinstance(value, str):
        return _cut(_as_json(without_logins(value)))
    return f"a Python {type(value).__name__}"


@dataclass(frozen=True)
class _Seen:
    """One error of pydantic with its place in the model."""

    error: ErrorDetails
    path: Path
    schema: Schema | None
    in_union: bool

    @property
    def about_key(self) -> bool:
        return self.error["type"] == "extra_forbidden" or self.error["loc"][-1:] == (ABOUT_THE_KEY,)


def _sentences(seen: _Seen, root: Schema) -> list[str]:
    """Say one error; a validator of the whole model says its paths itself, one to a line."""
    kind, value, where = seen.error["type"], seen.error["input"], path_text(seen.path)
    if kind in ("value_error", "assertion_error"):
        return _own_words(seen, where)
    if kind == "extra_forbidden":
        return [_unknown_key(seen, root, where)]
    rule = allowed(seen.schema, root) or seen.error["msg"]
    if kind == "missing":
        return [f"{where}: missing; allowed: {rule}"]
    said = "(hidden)" if _is_secret(seen.path) else found(value)
    return [f"{where or 'the whole'}: found {said}; allowed: {rule}{_quoted(value, rule)}"]


def _quoted(value: object, rule: str) -> str:
    """Say how a number becomes the text that is wanted: who writes YAML or JSON forgets the quotes."""
    is_scalar = isinstance(value, int | float) and abs(value) < 10**15
    return f" ({json.dumps(json.dumps(value))} in quotes is one)" if is_scalar and rule.startswith("a text") else ""


def _own_words(seen: _Seen, where: str) -> list[str]:
    lines = str(seen.error.get("ctx", {}).get("error") or seen.error["msg"]).splitlines()
    if not where:
        return lines
    if isinstance(seen.error["input"], (str, int, float)) and not _is_secret(seen.path):
        return [f"{where}: found {found(seen.error['input'])}; {line}" for line in lines]
    return [f"{where}: {line}" for line in lines]


def _unknown_key(seen: _Seen, root: Schema, where: str) -> str:
    known = sorted({name for each in alternatives(seen.schema, root) for name in each.get("properties", {})})
    return f"{where}: unknown{did_you_mean(str(seen.path[-1]), known)} (known: {', '.join(known)})"


def _is_secret(path: Path) -> bool:
    return any(isinstance(key, str) and SECRET_KEY.search(key) for key in path)


def _explained_deeper(path: Path, paths: Sequence[Path]) -> bool:
    """Tell whether another error lies inside this value: then 'not a text' about the list around it is noise."""
    return any(len(each) > len(path) and each[: len(path)] == path for each in paths)


def _seen(root: Schema, error: ErrorDetails) -> _Seen:
    """Follow an error's place through the model, leaving out the names pydantic gives to branches of a union."""
    loc, unknown = list(error["loc"]), error["type"] == "extra_forbidden"
    steps = loc[:-1] if unknown or loc[-1:] == [ABOUT_THE_KEY] else loc
    schema: Schema | None = root
    path: list[str | int] = []
    in_union = False
    for index, key in enumerate(steps):
        inside = _inside(schema, root, key, is_name=loc[index + 1 : index + 2] == [ABOUT_THE_KEY])
        if inside is None and isinstance(key, str):
            in_union = True
            continue
        path.append(key)
        schema = inside
    return _Seen(error, (*path, loc[-1]) if unknown else tuple(path), schema, in_union)


def _inside(schema: Schema | None, root: Schema, key: str | int, *, is_name: bool) -> Schema | None:
    """Return the schema of what lies under `key` (of the key itself if `is_name`), or None."""
    branches = alternatives(schema, root)
    if isinstance(key, str) and key.startswith(("dict[", "list[", "tuple[")) and len(branches) > 1:
        return None
    for each in branches:
        if is_name and "propertyNames" in each:
            return dict(each["propertyNames"])
        under = _child(each, key)
        if under is not None:
            return under
    return None


def _child(schema: Schema, key: str | int) -> Schema | None:
    if isinstance(key, int):
        under: Any = schema.get("items")
    else:
        patterns = list(schema.get("patternProperties", {}).values())
        under = schema.get("properties", {}).get(key) or next(iter(patterns), schema.get("additionalProperties"))
        under = {} if under is True else under
    return under if isinstance(under, dict) else None


@cache
def _schema(model: type[BaseModel]) -> Schema:
    return model.model_json_schema()


def _as_json(text: str) -> str:
    """Return a text as JSON writes it; letters of all languages stay, what cannot be printed is escaped."""
    return "".join(
        sign if sign.isprintable() else json.dumps(sign)[1:-1] for sign in json.dumps(text, ensure_ascii=False)
    )


def _cut(text: str) -> str:
    return text if len(text) <= SHOWN_CHARACTERS else text[: SHOWN_CHARACTERS - 3] + "..."
