"""Schedules in the ledger: those that users added, and how far each one is. A slot is fired and noted in one step."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Self

from infra_tasks.ledger.submission import script_args

if TYPE_CHECKING:
    from collections.abc import Mapping

    from infra_tasks.ledger.scripts import Scripts
    from infra_tasks.ledger.submission import Submission

# Becomes the id of the run in the record that goes along with its submission.
RUN_MARK = "@RUN@"


@dataclass(frozen=True)
class Progress:
    """How far a schedule is. `standing`: as `model.slots.Standing` says it. Moments are wall seconds of Redis.

    `run`, `slot`: the run of the last slot that was fired; `passed`: how many slots were missed or left out; `paused`:
    {at, by, why}; `trouble`: {at, said}, why the last slot could not be fired; `gone`: its entry is not there now.
    """

    standing: dict[str, Any]
    run: str = ""
    slot: int = 0
    passed: int = 0
    paused: dict[str, Any] | None = None
    trouble: dict[str, Any] | None = None
    gone: bool = False

    @classmethod
    def of(cls, text: str) -> Self:
        """Return what `text` made; of a newer version's record what is known here."""
        said = json.loads(text)
        return cls(**{name: value for name, value in said.items() if name in cls.__dataclass_fields__})

    @property
    def text(self) -> str:
        """The record: two that are equal have the same text."""
        return json.dumps(asdict(self), sort_keys=True)


@dataclass(frozen=True)
class SchedulesSeen:
    """One look. `added`, `progress`: by name, the entry as it was added and the record. `now`: Redis' wall seconds."""

    added: Mapping[str, str]
    progress: Mapping[str, str]
    now: float

    def of(self, name: str) -> Progress | None:
        """Return how far a schedule is; None where nobody has looked after it yet."""
        text = self.progress.get(name)
        return Progress.of(text) if text else None


class Schedules:
    """What is kept of schedules. Changes are refused (`moved`) where the record is no longer the one that was seen."""

    def __init__(self, scripts: Scripts) -> None:
        self._scripts = scripts
        self._redis = scripts.client
        self._key = scripts.key

    def read(self, *, patience_s: float = 10.0) -> SchedulesSeen:
        """Return everything, in one round trip. Raises FleetUnreachable."""

        def ask() -> list[Any]:
            with self._redis.pipeline(transaction=False) as pipe:
                pipe.hgetall(self._key("schedules"))
                pipe.hgetall(self._key("slots"))
                pipe.time()
                return list(pipe.execute())

        added, progress, (seconds, micros) = self._scripts.persistently(ask, patience_s)
        return SchedulesSeen(added, progress, float(seconds) + float(micros) / 1e6)

    def note(self, name: str, before: str, after: str, *, patience_s: float = 10.0, **more: Any) -> str:
        """Put a record in place of the one that was seen. `more`: entry, removes, turn, nonce (see `schedule.lua`).

        Returns ok, moved, safe, known, unknown.
        """
        said = self._scripts.call("schedule", patience_s=patience_s, schedule=name, before=before, after=after, **more)
        return str(said["said"])

    def fire(self, one: Submission, before: str, after: Progress, *, patience_s: float = 0) -> str | None:
        """Submit the run of a slot and note it; return its id, or None where the record is no longer the one seen.

        None in safe mode, too. Raises FleetUnreachable; a look at the record tells then whether it was done.
        """
        said = self._scripts.call(
            "submit",
            patience_s=patience_s,
            runs=[script_args(one)],
            schedule={"name": one.schedule, "before": before, "after": after.text},
        )
        return None if isinstance(said, dict) else str(said[0]["id"])
