"""The shape of a golden set: which records there are, their keys, and of what kind each value is. Pure but for reading.

Texts that hold JSON - fields of a hash, bodies of messages - are looked into.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from typing import TYPE_CHECKING, Any

import zstandard

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NUMBER = re.compile(r"-?\d+(\.\d+)?(e[-+]?\d+)?")
DIGEST = re.compile(r"[0-9a-f]{64}")
MONTH = re.compile(r"\d{4}-\d{2}\.")


def shape_of(value: Any) -> Any:
    """Return a value with every leaf replaced by its kind; of a list the kinds of its members, each once."""
    if isinstance(value, dict):
        return {name: shape_of(one) for name, one in value.items()}
    if isinstance(value, list):
        return sorted({json.dumps(shape_of(one), sort_keys=True) for one in value})
    if isinstance(value, str):
        return _shape_of_text(value)
    if value is None or isinstance(value, bool):
        return "none" if value is None else "bool"
    return "number"


def _shape_of_text(text: str) -> Any:
    if text[:1] in {"{", "["}:
        try:
            return ["json", shape_of(json.loads(text))]
        except ValueError:
            return "text"
    if NUMBER.fullmatch(text):
        return "number in a text"
    body = _body(text)
    return ["body", shape_of(body)] if body is not None else "text"


def _body(text: str) -> Any:
    """Return what the body of a Celery message holds."""
    try:
        found = json.loads(base64.b64decode(text, validate=True))
    except (ValueError, binascii.Error):
        return None
    return found if isinstance(found, list) else None


def shapes(folder: Path) -> dict[str, Any]:
    """Return the shape of everything in a set, by where it stands: `redis.json infra:counts state`."""
    return dict(sorted(_leaves("", dict(_documents(folder)))))


def _documents(folder: Path) -> Iterator[tuple[str, Any]]:
    for file in sorted(one for one in folder.rglob("*") if one.is_file()):
        yield MONTH.sub("MONTH.", DIGEST.sub("DIGEST", str(file.relative_to(folder)))), _document(file)


def _document(file: Path) -> Any:
    if file.name.endswith(".zst"):
        return _lines(zstandard.ZstdDecompressor().stream_reader(file.read_bytes()).read().decode())
    if file.suffix == ".index":
        return _lines(file.read_text())
    try:
        return json.loads(file.read_text())
    except (ValueError, UnicodeDecodeError):
        return "no JSON"


def _lines(text: str) -> dict[str, Any]:
    return {str(number): json.loads(line) for number, line in enumerate(text.splitlines())}


def _leaves(place: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict) and value:
        for name, one in value.items():
            yield from _leaves(f"{place} {DIGEST.sub('DIGEST', name)}".strip(), one)
        return
    shape = shape_of(value)
    if isinstance(shape, list) and shape[:1] in (["json"], ["body"]) and isinstance(shape[1], dict):
        parsed = json.loads(value)
        yield from _leaves(f"{place} >", parsed)
        return
    yield place, shape


def changes(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """Return in words what differs."""
    gone = [f"is not written any more: {place}" for place in before.keys() - now.keys()]
    new = [f"is new: {place} ({now[place]})" for place in now.keys() - before.keys()]
    both = before.keys() & now.keys()
    other = [f"{place}: was {before[place]}, is {now[place]}" for place in both if before[place] != now[place]]
    return sorted([*gone, *new, *other])
