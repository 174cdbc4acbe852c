"""When a schedule is due: its slots, seconds since 1970, by a cron line in a time zone or by an interval. Pure.

A cron line is read by the wall clock of its zone. A time of day that the zone leaves out (clocks go forward) is the
first moment after the gap; one that comes twice (clocks go back) is the first of the two. Slots that fall on the same
moment are one. An interval counts from 1970-01-01T00:00Z, so every machine knows the same slots.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import islice
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from zoneinfo import ZoneInfo

SECOND = timedelta(seconds=1)


@dataclass(frozen=True)
class Timetable:
    """Either `cron` (five fields, or @hourly and the like) or `every_s` (whole seconds)."""

    cron: str | None
    every_s: int | None = None
    timezone: str = "UTC"

    @property
    def words(self) -> str:
        """The same text for the same slots."""
        return f"every {self.every_s}" if self.every_s else f"{self.cron} {self.timezone}"

    def upto(self, now: float, after: float, most: int) -> list[int]:
        """Return the newest `most` slots later than `after` and not later than `now`, oldest first."""
        found: list[int] = []
        for slot in self._down_from(now):
            if slot <= after or len(found) == most:
                break
            found.append(slot)
        return found[::-1]

    def following(self, now: float, most: int = 1) -> list[int]:
        """Return the next slots later than `now`."""
        return list(islice(self._up_from(now), most))

    def shown(self, slot: float) -> str:
        """Return a moment as the wall clock of the zone shows it: 2026-11-30 03:00 CET."""
        return datetime.fromtimestamp(slot, _zone(self.timezone)).strftime("%Y-%m-%d %H:%M:%S %Z")

    def next_words(self, coming: list[int]) -> str:
        """Return when it is due next, in words."""
        return f"due next at {self.shown(coming[0])}" if coming else "never due again"

    def _down_from(self, now: float) -> Iterator[int]:
        if self.every_s:
            yield from range(int(now // self.every_s) * self.every_s, -1, -self.every_s)
            return
        zone, last = _zone(self.timezone), None
        for wall in _walk(self.cron or "", _latest_wall(now, zone) + SECOND, forward=False):
            slot = _moment(wall, zone)
            if slot <= now and slot != last:
                last = slot
                yield slot

    def _up_from(self, now: float) -> Iterator[int]:
        if self.every_s:
            slot = int(now // self.every_s) * self.every_s
            while True:
                yield (slot := slot + self.every_s)
        zone, last = _zone(self.timezone), now
        wall_now = datetime.fromtimestamp(now, zone).replace(tzinfo=None)
        for wall in _walk(self.cron or "", wall_now, forward=True):
            slot = _moment(wall, zone)
            if slot > last:
                last = slot
                yield slot


def iso(slot: float) -> str:
    """Return the name of a slot: 2026-11-30T02:00:00Z."""
    return datetime.fromtimestamp(slot, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _walk(cron: str, wall: datetime, *, forward: bool) -> Iterator[datetime]:
    """Give the times of day a cron line names, from one (left out) on or back."""
    from croniter import CroniterBadDateError, croniter  # noqa: PLC0415  few fleets have schedules

    walker = croniter(cron, wall)
    step = walker.get_next if forward else walker.get_prev
    while True:
        try:
            found: datetime = step(datetime)
        except (CroniterBadDateError, OverflowError, ValueError):
            return  # never again
        yield found


def _latest_wall(now: float, zone: ZoneInfo) -> datetime:
    """Return a time of day the wall clock has not been beyond yet: while clocks are set back it was ahead once."""
    local = datetime.fromtimestamp(now, zone)
    before, here = local.replace(fold=0).utcoffset(), local.utcoffset()
    ahead = before - here if local.fold and before and here is not None else timedelta()
    return (local + ahead).replace(tzinfo=None, fold=0)


def _moment(wall: datetime, zone: ZoneInfo) -> int:
    there = wall.replace(tzinfo=zone)
    moment = int(there.timestamp())
    is_there = datetime.fromtimestamp(moment, zone).replace(tzinfo=None, fold=0) == wall
    return moment if is_there else _end_of_gap(there)


def _end_of_gap(there: datetime) -> int:
    """Return the first moment of the new offset; within a gap fold 0 and 1 are read with the old and the new one."""
    after = there.replace(fold=1)
    old, new, zone = int(after.timestamp()), int(there.timestamp()), there.tzinfo
    while new - old > 1:
        middle = (old + new) // 2
        if datetime.fromtimestamp(middle, zone).utcoffset() == after.utcoffset():
            new = middle
        else:
            old = middle
    return new


@cache
def _zone(name: str) -> ZoneInfo:
    from zoneinfo import ZoneInfo  # noqa: PLC0415

    return ZoneInfo(name)
