"""Schedules as the command line shows them. Pure."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any

from infra_tasks.cli import spans
from infra_tasks.cli.path_text import path_text
from infra_tasks.cli.run_view import short
from infra_tasks.model.timetable import iso

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from infra_tasks.ledger.schedules import Progress
    from infra_tasks.schedules.entries import Entry

HEADINGS = ("NAME", "WHEN", "NEXT", "LAST RUN", "FROM", "WHAT")
NEXT_TOLD = 3


def as_json(entry: Entry, progress: Progress | None, states: Mapping[str, str | None], now: float) -> dict[str, Any]:
    """Return all that is known of a schedule. `states`: of runs, by id. `now`: wall seconds of Redis."""
    schedule, table = entry.schedule, entry.schedule.timetable
    paused = progress.paused if progress else None
    coming = [] if paused else table.following(now, NEXT_TOLD)
    run = progress.run if progress else ""
    return {
        "name": entry.name,
        "cron": schedule.cron,
        "every_s": schedule.every_s,
        "timezone": schedule.timezone,
        "missed": schedule.missed,
        "overlap": schedule.overlap,
        "spec": schedule.as_json()["spec"],
        "from": "ledger" if entry.added else "nodes.json",
        "added": entry.added,
        "paused": paused,
        "next": [{"at": slot, "slot": iso(slot), "shown": table.shown(slot)} for slot in coming],
        "last_run": {"id": run, "slot": iso(progress.slot), "state": states.get(run)} if progress and run else None,
        "waiting": [iso(slot) for slot in progress.standing["waiting"]] if progress else [],
        "left_out": progress.passed if progress else 0,
        "trouble": progress.trouble if progress else None,
    }


def row(said: Mapping[str, Any]) -> tuple[str, ...]:
    """Return what stands below `HEADINGS`."""
    last, command = said["last_run"], said["spec"]["command"]
    text = command if isinstance(command, str) else shlex.join(command)
    coming = said["next"][0]["shown"] if said["next"] else "never"
    return (
        said["name"],
        when(said),
        "paused" if said["paused"] else coming,
        f"{short(last['id'])} {last['state'] or 'forgotten'}" if last else "",
        said["from"],
        path_text(" ".join(text.split())),
    )


def when(said: Mapping[str, Any]) -> str:
    """Return when it is due, in a few words."""
    return f"every {spans.words(said['every_s'])}" if said["every_s"] else f"{said['cron']} {said['timezone']}"


def remarks(said: Mapping[str, Any], now: float) -> Iterator[str]:
    """Give what a person should know beyond the row, a sentence each."""
    name, paused, trouble = said["name"], said["paused"], said["trouble"]
    if paused:
        why = f": {path_text(paused['why'])}" if paused["why"] else ""
        yield f"{name} was paused by {path_text(paused['by'])} {spans.words(now - paused['at'])} ago{why}"
    if trouble:
        why = path_text(" ".join(trouble["said"].split()))
        yield f"{name} could not be fired {spans.words(now - trouble['at'])} ago: {why}"
    if said["waiting"]:
        count = len(said["waiting"])
        slots = "a slot waits" if count == 1 else f"{count} slots wait"
        yield f"{name}: {slots} for the run before to end"
    if said["left_out"]:
        yield f"{name}: so far {said['left_out']} missed or left out"
