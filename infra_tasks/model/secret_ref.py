"""A secret by reference: its name. The value is on the nodes, and nowhere else."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from infra_tasks.model.allowed import IN_WORDS
from infra_tasks.model.secret_rules import NAME_PATTERN, NAME_RULE

SecretName = Annotated[str, Field(pattern=NAME_PATTERN, json_schema_extra={IN_WORDS: NAME_RULE})]


class SecretRef(BaseModel):
    """Stands in the environment of a spec for a value that the node looks up when the command starts."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, json_schema_extra={IN_WORDS: '{"secret": its name}'}
    )

    secret: SecretName


def as_json(value: Any) -> Any:
    """Return what JSON keeps of a reference. Raises TypeError for anything else."""
    if isinstance(value, SecretRef):
        return {"secret": value.secret}
    raise TypeError(f"{value!r} has no place in JSON")
