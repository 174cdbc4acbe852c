"""Looks the secrets of a run up on its node: in the node's file first, then with its command."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from infra_tasks.errors import SecretUnavailable
from infra_tasks.model.nearest import did_you_mean
from infra_tasks.model.secret_rules import value_complaint
from infra_tasks.secret_store.by_command import CommandFailed, ask
from infra_tasks.secret_store.file import SecretsFile

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path


@dataclass(frozen=True)
class Places:
    """Where a node's secrets are; `env` is all that its command sees of an environment."""

    node: str
    file: Path
    command: Sequence[str] | None = None
    env: Mapping[str, str] = field(default_factory=dict)


def look_up(wanted: Mapping[str, str], places: Places, goes_on: Callable[[], bool] = lambda: True) -> dict[str, str]:
    """Return variables with their values for variables with the names of their secrets.

    Each secret is asked for once. Raises SecretUnavailable, naming every one that cannot be had; at the first of them
    if that which wants them no longer `goes_on`.
    """
    kept = SecretsFile(places.file).read()
    found: dict[str, str] = {}
    wrong = []
    for name in dict.fromkeys(wanted.values()):
        try:
            found[name] = _value(name, kept, places, tuple(found.values()), goes_on)
        except SecretUnavailable as error:
            wrong.append(f"secret {name!r} (for {_variables(name, wanted)}) {error}")
            if not goes_on():
                break
    if wrong:
        raise SecretUnavailable("\n".join(wrong))
    return {variable: found[name] for variable, name in wanted.items()}


def _value(
    name: str, kept: Mapping[str, str], places: Places, known: Sequence[str], goes_on: Callable[[], bool]
) -> str:
    if name in kept:
        value, where = kept[name], str(places.file)
    elif places.command:
        value, where = _asked(name, places, known, goes_on), _shown(places)
    else:
        raise SecretUnavailable(
            f"is not on node {places.node}: {places.file} has none of that name{did_you_mean(name, kept)}; "
            f"set it there with `infra secret set {name}`"
        )
    if wrong := value_complaint(value):
        raise SecretUnavailable(f"as {where} of node {places.node} has it {wrong}")
    return value


def _asked(name: str, places: Places, known: Sequence[str], goes_on: Callable[[], bool]) -> str:
    try:
        return ask(places.command or (), name, places.env, known=known, goes_on=goes_on)
    except CommandFailed as error:
        raise SecretUnavailable(
            f"cannot be had on node {places.node}: {places.file} has none of that name, and {_shown(places)} {error}"
        ) from None


def _shown(places: Places) -> str:
    return f"its secret_command ({' '.join(places.command or ())})"


def _variables(name: str, wanted: Mapping[str, str]) -> str:
    return ", ".join(variable for variable, each in wanted.items() if each == name)
