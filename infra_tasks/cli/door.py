"""What commands begin with: this node's folder, its fleet, and a ledger that answers. Opened late, told clearly."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from infra_tasks.cli.here import Here
from infra_tasks.errors import FleetUnreachable
from infra_tasks.settings import home

if TYPE_CHECKING:
    from collections.abc import Iterator

    from infra_tasks.ledger import Ledger
    from infra_tasks.model.fleet import Fleet
    from infra_tasks.settings import Home

# A Redis that the watcher is just bringing back is waited for.
PATIENCE_S = 5.0
LOOK_EVERY_S = 0.1


def open_home() -> Home:
    """Return this node's folder."""
    return home()


def open_fleet(at: Home) -> Fleet:
    """Return the fleet as nodes.json says it. Raises BadFleet; FleetUnreachable when there is none."""
    from infra_tasks.ledger.connect import fleet_of  # noqa: PLC0415

    return fleet_of(at)


@contextmanager
def answering_ledger(at: Home) -> Iterator[Ledger]:
    """Give the ledger, and close it. Raises FleetUnreachable with what to do when Redis does not answer."""
    ledger = _open(at)
    try:
        yield ledger
    finally:
        ledger.close()


def _open(at: Home) -> Ledger:
    from infra_tasks.ledger import open_ledger  # noqa: PLC0415

    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            ledger = open_ledger(at)
            ledger.answers()
        except FleetUnreachable as error:
            if time.monotonic() > deadline or not _is_worth_waiting(at):
                raise _explained(error, at) from error
        else:
            return ledger
        time.sleep(LOOK_EVERY_S)


def _is_worth_waiting(at: Home) -> bool:
    return Here(at).watcher() is not None


def _explained(error: FleetUnreachable, at: Home) -> FleetUnreachable:
    from infra_tasks.ledger.connect import fleet_of  # noqa: PLC0415

    if not at.nodes_json.exists() or fleet_of(at).broker != "embedded":
        return error
    if Here(at).watcher() is None:
        return FleetUnreachable(
            f"this node is not up (no watcher runs for {at.root}).\nStart it with `infra up --detach`."
        )
    return FleetUnreachable(
        f"this node is up, but its Redis does not answer.\n{error}\nIts log: {at.logs / 'redis.log'}"
    )
