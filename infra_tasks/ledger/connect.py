"""How Redis is reached: the address of a node's ledger and clients with the timeouts that keep a loop alive.

`retry_on_timeout` is never set: it makes redis-py read without a timeout after a reconnect.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from infra_tasks import settings
from infra_tasks.errors import BadFleet, FleetUnreachable
from infra_tasks.ledger import embedded
from infra_tasks.ledger.glance import glance

if TYPE_CHECKING:
    from infra_tasks.model.fleet import Fleet
    from infra_tasks.settings import Home

CONNECT_TIMEOUT_S = 3.0
ANSWER_TIMEOUT_S = 10.0
HEALTH_CHECK_S = 10


def fleet_of(home: Home) -> Fleet:
    """Return the fleet this folder belongs to. Raises BadFleet, FleetUnreachable when there is none yet.

    A role of the node that has to start while nodes.json is broken starts from what was right before.
    """
    try:
        return _fleet_as_written(home)
    except (BadFleet, FleetUnreachable):
        if not (settings.role() and home.accepted_json.exists()):
            raise
        return _parsed(home.accepted_json.read_bytes(), str(home.accepted_json))


def _fleet_as_written(home: Home) -> Fleet:
    try:
        text = home.nodes_json.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise FleetUnreachable(
            f"{home.nodes_json} does not exist: no fleet here yet. Make one with `infra init`."
        ) from None
    return _parsed(text, str(home.nodes_json))


def _parsed(text: str | bytes, name: str) -> Fleet:
    from infra_tasks.model.fleet import parse_fleet  # noqa: PLC0415  pydantic: a quick look does without

    return parse_fleet(text, name)


def url_of(home: Home) -> str:
    """Return the address of broker and ledger, password included: never print it."""
    broker = glance(home).broker
    return embedded.url(home) if broker == "embedded" else broker


def client(url: str, **options: Any) -> redis.Redis:
    """Return a client that gives up in time and never retries by itself: repeating is decided by the caller."""
    return redis.Redis.from_url(
        url,
        decode_responses=True,
        socket_connect_timeout=CONNECT_TIMEOUT_S,
        socket_timeout=options.pop("socket_timeout", ANSWER_TIMEOUT_S),
        socket_keepalive=True,
        health_check_interval=HEALTH_CHECK_S,
        retry=Retry(NoBackoff(), 0),
        **options,
    )


class FleetFile:
    """nodes.json, read again when it changed: a running fleet takes a change up by itself."""

    def __init__(self, home: Home) -> None:
        self._home = home
        self._seen: tuple[int, int, int] | None = None
        self._fleet: Fleet | None = None

    def current(self) -> Fleet:
        """Return the fleet as the file says it now; while a change is broken, as it said before.

        Raises BadFleet, FleetUnreachable when it was never right.
        """
        try:
            found = self._home.nodes_json.stat()
            stamp = (found.st_mtime_ns, found.st_size, found.st_ino)
        except FileNotFoundError:
            stamp = None
        if self._fleet is None or stamp != self._seen:
            try:
                self._fleet = fleet_of(self._home)
            except (BadFleet, FleetUnreachable):
                if self._fleet is None:
                    raise
            self._seen = stamp
        return self._fleet
