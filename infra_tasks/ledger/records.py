"""The record of a run as Python sees it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from infra_tasks.model.run import is_final

if TYPE_CHECKING:
    from collections.abc import Mapping

    from infra_tasks.model.spec import RunSpec


@dataclass(frozen=True)
class Run:
    """One run: its id and the fields of its hash. Moments are wall seconds of Redis' clock."""

    id: str
    fields: Mapping[str, str]

    def __getattr__(self, name: str) -> str:
        if name in {
            "state",
            "node",
            "project",
            "name",
            "queue",
            "claim",
            "claim_node",
            "release",
            "reason",
            "retry_of",
            "home_node",
            "schedule",
            "slot",
            "cancel",
        }:
            return self.fields.get(name, "")
        raise AttributeError(name)

    @cached_property
    def spec(self) -> RunSpec:
        """What was asked for."""
        from infra_tasks.model.spec import RunSpec  # noqa: PLC0415  pydantic: a quick look does without

        return RunSpec.recorded(self.fields["spec"])

    @property
    def attempt(self) -> int:
        """How many attempts were claimed."""
        return int(self.fields.get("attempt") or 0)

    @property
    def timeout_s(self) -> float:
        """The limit, extensions included."""
        return float(self.fields["timeout_s"])

    @property
    def final(self) -> bool:
        """Nothing may change it any more."""
        return is_final(self.fields["state"])

    @property
    def result(self) -> dict[str, Any] | None:
        """What `.get()` gives, once it is final."""
        return json.loads(self.fields["result"]) if self.fields.get("result") else None

    @property
    def counts(self) -> dict[str, int]:
        """retries_used, lost, unstarted."""
        return {name: int(self.fields.get(name) or 0) for name in ("retries_used", "lost", "unstarted")}

    def at(self, name: str) -> float | None:
        """Return a moment (`submitted_at`, `claimed_at`, `ended_at`, `not_before`) or None."""
        text = self.fields.get(name)
        return float(text) if text else None


@dataclass(frozen=True)
class Event:
    """One line of a run's story."""

    at: float
    from_state: str
    to_state: str
    actor: str
    cause: str
    token: str | None

    @classmethod
    def of(cls, text: str) -> Event:
        """Return the event a script wrote."""
        said = json.loads(text)
        return cls(float(said["at"]), said["from"], said["to"], said["actor"], said["cause"], said.get("token"))

    def as_dict(self) -> dict[str, Any]:
        """Return it as `infra show --json` prints it."""
        return {
            "moment": self.at,
            "from": self.from_state or None,
            "to": self.to_state,
            "actor": self.actor,
            "cause": self.cause,
            "token": self.token,
        }
