"""kombu's Redis channel after its connection was lost: an error kombu recovers from, not one that ends the worker."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from kombu import Connection
from kombu.transport import redis as plain
from redis.exceptions import ConnectionError as RedisConnectionError

from infra_tasks import transport

if TYPE_CHECKING:
    from redis_process import RedisProcess


def lost_channel(url: str, kind: type) -> tuple[Connection, plain.Channel]:
    """A channel whose connection is gone, as an event loop still holds it after a restart of Redis."""
    connection = Connection(url, transport=kind)
    channel = connection.channel()
    channel.connection.client = None
    return connection, channel


def test_a_lost_connection_is_an_error_the_worker_recovers_from(redis_process: RedisProcess):
    connection, channel = lost_channel(redis_process.url, transport.Transport)
    with pytest.raises(RedisConnectionError) as caught:
        channel._connparams(asynchronous=True)
    assert isinstance(caught.value, connection.recoverable_connection_errors)


def test_kombus_own_channel_still_needs_the_cure(redis_process: RedisProcess):
    connection, channel = lost_channel(redis_process.url, plain.Transport)
    with pytest.raises(AttributeError) as caught:
        channel._connparams(asynchronous=True)
    assert not isinstance(caught.value, connection.recoverable_connection_errors)


def test_nothing_is_retried_inside_the_event_loop(redis_process: RedisProcess):
    with Connection(redis_process.url, transport=transport.Transport) as connection:
        params = connection.channel()._connparams(asynchronous=True)
    assert params["retry"]._retries == 0
    assert not params["retry_on_timeout"]


def test_redis_addresses_use_the_cured_transport(redis_process: RedisProcess):
    transport.install()
    with Connection(redis_process.url) as connection:
        assert isinstance(connection.transport, transport.Transport)
