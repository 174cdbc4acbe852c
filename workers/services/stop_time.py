"""How long a service manager has to wait for the watcher to stop its roles in order."""

from __future__ import annotations

from workers.roles import START_ORDER

MARGIN_S = 20


def longest_stop_s() -> int:
    """Return the seconds in which even roles that all have to be killed are gone."""
    return int(sum(plan.patience.stop_s for plan in START_ORDER)) + MARGIN_S
