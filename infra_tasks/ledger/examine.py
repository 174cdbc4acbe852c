"""Looks a Redis over: every call by itself, so that one it refuses (ACL, a renamed command) hides nothing else."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from redis.exceptions import AuthenticationError, RedisError
from redis.exceptions import ConnectionError as RedisGone
from redis.exceptions import TimeoutError as RedisSilent

from infra_tasks.errors import FleetUnreachable
from infra_tasks.ledger.connect import client

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from redis import Redis

ANSWER_WITHIN_S = 5.0
# Written and removed again: the only way to know that writing is allowed and possible.
PROBE_KEY = "infra:doctor"
PROBE = "redis.call('set', KEYS[1], 1, 'px', 1000); return redis.call('del', KEYS[1])"

BRPOP_S = "0.05"  # of less than a few milliseconds Redis 6 makes 0: for ever


@dataclass(frozen=True)
class RedisSeen:
    """What a Redis says of itself; `refused`: calls and the words they were refused with."""

    info: Mapping[str, Any] = field(default_factory=dict)
    appendfsync: str | None = None
    refused: Mapping[str, str] = field(default_factory=dict)


def examine(url: str) -> RedisSeen:
    """Look at the Redis at this address. Raises FleetUnreachable when it does not answer, or lets nobody in."""
    redis = client(url, socket_timeout=ANSWER_WITHIN_S)
    refused: dict[str, str] = {}
    try:
        redis.ping()
        seen = {what: _asked(redis, call, refused, what) for what, call in _CALLS.items()}
    except AuthenticationError as error:
        raise FleetUnreachable(f"Redis refuses the login in 'broker': {error}") from error
    except RedisError as error:
        raise FleetUnreachable(f"Redis does not answer: {error}") from error
    finally:
        redis.close()
    return RedisSeen(dict(seen["INFO"] or {}), (seen["CONFIG GET"] or {}).get("appendfsync"), refused)


def _asked(redis: Redis, call: Callable[[Redis], Any], refused: dict[str, str], what: str) -> Any:
    """Return the answer, None if it was refused. Raises when the connection is gone."""
    try:
        return call(redis)
    except (RedisGone, RedisSilent):
        raise
    except RedisError as error:
        refused[what] = str(error)
        return None


_CALLS: dict[str, Callable[[Any], Any]] = {
    "INFO": lambda redis: redis.info(),
    "CONFIG GET": lambda redis: redis.config_get("appendfsync"),
    "scripts that write": lambda redis: redis.eval(PROBE, 1, PROBE_KEY),
    "BRPOP": lambda redis: redis.execute_command("BRPOP", PROBE_KEY, BRPOP_S),
    "PUBLISH": lambda redis: redis.publish(PROBE_KEY, ""),
    "TIME": lambda redis: redis.time(),
    "CLIENT LIST": lambda redis: redis.client_list(),
    "SCAN": lambda redis: redis.scan(count=1),
}
