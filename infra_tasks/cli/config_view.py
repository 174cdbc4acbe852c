"""What holds for a node and where each value comes from: nodes.json, the environment, or nobody said it. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from infra_tasks.model.complaints import path_text
from infra_tasks.model.fleet_text import line_of
from infra_tasks.model.redactor import without_logins
from infra_tasks.model.spec import RunSpec

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pydantic import BaseModel

    from infra_tasks.model.fleet import Fleet
    from infra_tasks.model.placed import Written

DEFAULT, ENVIRONMENT, FILE = "default", "environment", "nodes.json"
UNSET = {"INFRA_HOME": "~/.infra"}


class Value(NamedTuple):
    """One value: its name as a JSON path, and where it comes from. `line` is that of nodes.json."""

    name: str
    value: Any
    source: str
    line: int | None = None


def values(fleet: Fleet, written: Written | None, variables: Mapping[str, str | None]) -> list[Value]:
    """Return everything that can be said, in the order of nodes.json. Logins in URLs are masked."""
    from_env = [
        Value(name, said or UNSET.get(name), ENVIRONMENT if said else DEFAULT) for name, said in variables.items()
    ]
    return [*from_env, *_of_part(fleet, (), written)]


def _of_part(part: BaseModel, path: tuple[str, ...], written: Written | None) -> Iterator[Value]:
    for name, field in type(part).model_fields.items():
        yield from _of_value(getattr(part, name), (*path, field.alias or name), written)


def _of_value(value: Any, path: tuple[str, ...], written: Written | None) -> Iterator[Value]:
    if isinstance(value, RunSpec):
        yield from _of_value(value.model_dump(mode="json", exclude_defaults=True), path, written)
    elif hasattr(type(value), "model_fields"):
        yield from _of_part(value, path, written)
    elif isinstance(value, dict):
        for key, each in value.items():
            yield from _of_value(each, (*path, key), written)
    else:
        line = line_of(written, path)
        yield Value(path_text(path), _shown(value), DEFAULT if line is None else FILE, line)


def _shown(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_shown(each) for each in value]
    return without_logins(value) if isinstance(value, str) and "//" in value else value
