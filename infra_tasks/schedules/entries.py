"""The schedules there are: those that nodes.json says, and those that users have added to the ledger."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from infra_tasks.errors import BadInput
from infra_tasks.model.schedule import Schedule, schedule_of
from infra_tasks.model.timetable import iso
from infra_tasks.submit import submission

if TYPE_CHECKING:
    from infra_tasks.ledger.runs import Submission
    from infra_tasks.ledger.schedules import SchedulesSeen
    from infra_tasks.model.fleet import Fleet
    from infra_tasks.settings import Home

log = logging.getLogger("infra_tasks.schedules")


@dataclass(frozen=True)
class Entry:
    """One schedule. `added`: {by, at} of who added it to the ledger; None for one that nodes.json says."""

    name: str
    schedule: Schedule
    added: dict[str, Any] | None = None


def entries(fleet: Fleet, seen: SchedulesSeen) -> dict[str, Entry]:
    """Return all schedules by name: those of nodes.json, and those in the ledger with other names."""
    found = {name: _added(name, text) for name, text in seen.added.items()}
    own = {name: Entry(name, schedule) for name, schedule in fleet.schedules.items()}
    return dict(sorted({**{name: entry for name, entry in found.items() if entry}, **own}.items()))


def entry_text(schedule: Schedule, by: str, at: float) -> str:
    """Return a schedule as the ledger keeps it."""
    return json.dumps({"schedule": schedule.as_json(), "by": by, "at": at}, sort_keys=True)


@lru_cache(maxsize=1024)
def _added(name: str, text: str) -> Entry | None:
    said = json.loads(text)
    try:
        return Entry(name, schedule_of(said["schedule"], name), {"by": said["by"], "at": said["at"]})
    except BadInput as error:  # said in a newer version's words
        log.warning("schedule %s is passed over here: %s", name, error)
        return None


def run_of(entry: Entry, fleet: Fleet, home: Home, slot: int | None, actor: str) -> Submission:
    """Return the submission of a slot's run; None: one that is no slot. Raises BadSpec."""
    spec = entry.schedule.spec
    key = f"schedule:{entry.name}:{iso(slot)}" if slot is not None else None
    spec = spec.model_copy(update={"idempotency_key": key, "name": spec.name or entry.name})
    at = iso(slot) if slot is not None else None
    return submission(spec, fleet, home=home, actor=actor, schedule=entry.name, slot=at)
