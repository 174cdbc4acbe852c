"""What a cron line and a time zone may be. Pure but for the system's own list of zones."""

from __future__ import annotations

import re
from datetime import datetime
from functools import cache

from infra_tasks.model.nearest import did_you_mean

ALIASES = ("@yearly", "@annually", "@monthly", "@weekly", "@daily", "@midnight", "@hourly")
CRON_RULE = (
    "a cron line of five fields (minute, hour, day of month, month, day of week), like '30 3 * * mon-fri', or one of "
    + ", ".join(ALIASES)
)
ZONE_RULE = "a time zone like Europe/Berlin, or UTC"
# The library also knows H and R, which are drawn by lot, and a field for seconds.
_BY_LOT = re.compile(r"(?<![a-z])[hr](?![a-z])")
_FIELDS = 5
_FROM = datetime(2000, 1, 1)  # noqa: DTZ001  wall clock, of any zone


def check_cron(text: str) -> str:
    """Return a cron line in its plain form. Raises ValueError."""
    line = " ".join(text.lower().split())
    if line.startswith("@"):
        if line not in ALIASES:
            raise ValueError(f"allowed: {CRON_RULE}{did_you_mean(line, ALIASES)}")
        return line
    if len(line.split(" ")) != _FIELDS or _BY_LOT.search(line):
        raise ValueError(f"allowed: {CRON_RULE}")
    return _possible(line)


def _possible(line: str) -> str:
    from croniter import CroniterBadDateError, CroniterError, croniter  # noqa: PLC0415  few fleets have schedules

    try:
        croniter(line, _FROM).get_next(datetime)
    except CroniterBadDateError:
        raise ValueError("there is no such day: it would never be due") from None
    except (CroniterError, ValueError, KeyError, TypeError, ArithmeticError) as error:
        why = str(error).removeprefix(f"[{line}] ")
        raise ValueError(f"{why}; allowed: {CRON_RULE}") from None
    return line


def check_zone(name: str) -> str:
    """Return the name of a time zone this machine knows. Raises ValueError."""
    if name != "UTC" and name not in _zones():
        raise ValueError(f"allowed: {ZONE_RULE}{did_you_mean(name, _zones())}")
    return name


@cache
def _zones() -> frozenset[str]:
    from zoneinfo import available_timezones  # noqa: PLC0415

    return frozenset(available_timezones())
