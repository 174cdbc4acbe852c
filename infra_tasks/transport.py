"""kombu's Redis transport, cured: a worker must survive that Redis goes away and comes back.

Two wounds (found with kombu 5.7, FACTS 1.5): `_connparams` touches a channel whose connection is already closed and
dies of AttributeError, which ends the worker; and redis-py's own retries read without a timeout inside the event loop,
which leaves it deaf.
"""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from kombu import transport
from kombu.transport import redis as plain
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.retry import Retry


class Taken(NamedTuple):
    """A message in the hands of a consumer. `message`: as it lay in the queue."""

    tag: bytes
    message: dict[str, Any]
    exchange: str
    routing_key: str


class Channel(plain.Channel):
    """A channel whose lost connection is an error kombu recovers from."""

    def _connparams(self, asynchronous: bool = False) -> Any:  # noqa: FBT001, FBT002  kombu's signature
        if self.connection is None or getattr(self.connection, "client", None) is None:
            raise RedisConnectionError("the connection of this channel is closed")
        params = super()._connparams(asynchronous=asynchronous)  # type: ignore[no-untyped-call]
        if asynchronous:
            params["retry"] = Retry(NoBackoff(), 0)
        return params

    def taken(self) -> list[Taken]:
        """Return what was taken from queues and not acknowledged."""
        with self.conn_or_acquire() as client:
            found = client.hgetall(self.unacked_key)
        return [Taken(tag, *json.loads(text)) for tag, text in found.items()]

    def forget(self, taken: Taken, *, put_back: bool) -> None:
        """Strike off what was taken; `put_back`: to the front of its queue, with the message as it is now."""
        queues = self._lookup(taken.exchange, taken.routing_key) if put_back else []  # type: ignore[no-untyped-call]
        with self.conn_or_acquire() as client, client.pipeline() as pipe:
            pipe.hdel(self.unacked_key, taken.tag)
            pipe.zrem(self.unacked_index_key, taken.tag)
            for queue in queues:
                pipe.rpush(queue, json.dumps(taken.message))
            pipe.execute()


class Transport(plain.Transport):
    """The Redis transport with that channel."""

    Channel = Channel


def install() -> None:
    """Make `redis://` addresses use the cured transport in this process."""
    transport.TRANSPORT_ALIASES["redis"] = f"{__name__}:Transport"
    transport.TRANSPORT_ALIASES["rediss"] = f"{__name__}:Transport"
