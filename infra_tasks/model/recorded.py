"""A spec that another version recorded: what is known of it here, and what is not. Pure.

What is not known is left out where a run is only told of, counted or ended; nobody carries such a spec out, copies it
into a new run or writes it anew.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from pydantic import ValidationError

from infra_tasks.errors import BadSpec
from infra_tasks.model.complaints import path_text
from infra_tasks.model.spec import RunSpec

if TYPE_CHECKING:
    from collections.abc import Iterator


def known_part(text: str) -> RunSpec:
    """Return the spec without the fields whose name or value means nothing here. Raises BadSpec if none is left."""
    said = json.loads(text)
    unknown = {path[0] for path in _not_known(text) if path}
    try:
        return RunSpec.model_validate_json(json.dumps({name: said[name] for name in said.keys() - unknown}))
    except ValidationError as error:
        why = "; ".join(each["msg"] for each in error.errors(include_url=False))
        raise BadSpec(f"this spec was recorded by another version of infra and cannot be read here: {why}") from error


def not_known(text: str) -> list[str]:
    """Return what of a recorded spec this version does not know, as paths: fields, or values of known ones."""
    return list(dict.fromkeys(path_text(path) or "its spans" for path in _not_known(text)))


def refusal(text: str, version: str) -> str | None:
    """Return why this version can do nothing with a recorded spec but tell of it; None where it knows all of it."""
    unknown = not_known(text)
    if not unknown:
        return None
    return f"its spec was recorded by a newer version: {', '.join(unknown)} means nothing to infra {version} here"


def _not_known(text: str) -> Iterator[tuple[str | int, ...]]:
    try:
        RunSpec.model_validate_json(text)
    except ValidationError as error:
        yield from (each["loc"] for each in error.errors(include_url=False))
