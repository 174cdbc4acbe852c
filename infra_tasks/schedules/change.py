"""What people do to schedules: add, remove, pause, resume. Durable, and told who did it when."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from infra_tasks.errors import BadInput
from infra_tasks.ledger.schedules import Progress
from infra_tasks.model.nearest import did_you_mean
from infra_tasks.model.slots import Standing
from infra_tasks.schedules.entries import Entry, entries, entry_text, run_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from infra_tasks.ledger import Ledger
    from infra_tasks.ledger.schedules import SchedulesSeen
    from infra_tasks.model.fleet import Fleet
    from infra_tasks.model.schedule import Schedule
    from infra_tasks.settings import Home


def named(fleet: Fleet, seen: SchedulesSeen, name: str) -> Entry:
    """Return a schedule. Raises BadInput with the nearest name."""
    known = entries(fleet, seen)
    if name not in known:
        those = f"known: {', '.join(known)}" if known else "there is none: `infra schedule add` makes one"
        raise BadInput(f"no schedule {name!r}{did_you_mean(name, known)} ({those})")
    return known[name]


def add(ledger: Ledger, fleet: Fleet, home: Home, name: str, schedule: Schedule, by: str) -> Entry:
    """Add a schedule to the ledger; its first slot is one after now. Raises BadInput, BadSpec."""
    if name in fleet.schedules:
        raise BadInput(f"schedule {name!r} is written in {home.nodes_json} (schedules.{name}); change it there")
    run_of(Entry(name, schedule), fleet, home, None, by)  # what does not fit the fleet is told now, not at night
    at = ledger.nodes.now()
    text = entry_text(schedule, by, at)

    def added(before: Progress | None, now: float) -> Progress:
        begun = Standing.begun(schedule.timetable, now)
        old = Standing.of_json(before.standing) if before else begun
        return Progress(old.again(schedule.timetable, now).as_json())

    if _change(ledger, name, added, entry=text) == "known":
        raise BadInput(f"there is a schedule {name!r} already; `infra schedule remove {name}` makes room for another")
    return Entry(name, schedule, {"by": by, "at": at})


def remove(ledger: Ledger, name: str) -> None:
    """Take a schedule out of the ledger; runs it has made go on. Raises BadInput when it is not there."""
    if _change(ledger, name, lambda _before, _now: None, removes=True) == "unknown":
        raise BadInput(f"no schedule {name!r} in the ledger; somebody else has just removed it")


def pause(ledger: Ledger, entry: Entry, by: str, why: str = "") -> Progress:
    """Fire nothing of a schedule until it is resumed; paused already, it stays as it was."""

    def paused(before: Progress | None, now: float) -> Progress:
        begun = before or Progress(Standing.begun(entry.schedule.timetable, now).as_json())
        return begun if begun.paused else replace(begun, paused={"at": now, "by": by, "why": why})

    _change(ledger, entry.name, paused)
    return _progress(ledger, entry)


def resume(ledger: Ledger, entry: Entry) -> Progress:
    """Fire a schedule again, beginning with the next slot: what came meanwhile was not missed."""

    def resumed(before: Progress | None, now: float) -> Progress:
        if before is None or not before.paused:
            return before or Progress(Standing.begun(entry.schedule.timetable, now).as_json())
        standing = Standing.of_json(before.standing).again(entry.schedule.timetable, now)
        return replace(before, paused=None, standing=standing.as_json())

    _change(ledger, entry.name, resumed)
    return _progress(ledger, entry)


def _progress(ledger: Ledger, entry: Entry) -> Progress:
    seen = ledger.schedules.read()
    return seen.of(entry.name) or Progress(Standing.begun(entry.schedule.timetable, seen.now).as_json())


def _change(ledger: Ledger, name: str, make: Callable[[Progress | None, float], Progress | None], **more: Any) -> str:
    """Put what `make` makes of the record in its place, beginning anew when a turn came in between."""
    while True:
        nonce = uuid4().hex
        seen = ledger.schedules.read()
        made = make(seen.of(name), seen.now)
        said = ledger.schedules.note(name, seen.progress.get(name, ""), made.text if made else "", nonce=nonce, **more)
        if said != "moved":
            return said
