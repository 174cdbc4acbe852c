"""The beat role: sends what `beat_schedule.py` says, and fires the schedules of users.

On several nodes at once only the one with the lease does.

Celery's beat with redbeat's schedule in Redis, made steady: a Redis that is away, a lost lease and a clock that jumps
are waited out in the process, and the heartbeat goes on meanwhile (redbeat itself exits or blocks; its issues 208,
218, 230).
"""

from __future__ import annotations

import contextlib
import logging
import signal
import sys
import time
from functools import partial
from typing import TYPE_CHECKING, Any

from celery.beat import Service
from kombu.exceptions import OperationalError
from redbeat.schedulers import RedBeatScheduler, get_redis
from redis.backoff import NoBackoff
from redis.exceptions import LockError, RedisError
from redis.retry import Retry

from infra_tasks.errors import FleetUnreachable
from infra_tasks.settings import home
from workers.role import Pulse, enter

if TYPE_CHECKING:
    from collections.abc import Callable

    from celery import Celery
    from redis.lock import Lock

    from infra_tasks.settings import Home

LONGEST_SLEEP_S = 1.0  # between two heartbeats
STANDBY_S = 1.0  # how often a beat without the lease asks for it
AWAY_S = 1.0  # how often a Redis that is away is tried
LEASE_S = 30.0  # a dead beat is replaced after so long
LATE_CLOCK_S = 5.0  # a wall clock that went back further than this left entries in the future
ANSWER_WITHIN_S = 3.0  # Redis, asked for schedules: no heartbeat comes out of a beat that waits
REDIS_OPTIONS = {"socket_timeout": 5, "socket_connect_timeout": 3, "health_check_interval": 10}

log = logging.getLogger("beat")


class SteadyScheduler(RedBeatScheduler):  # type: ignore[misc]
    """redbeat's schedule under our own lease, one tick at a time."""

    def __init__(self, app: Celery, pulse: Pulse, turn: Callable[[], object] | None = None, **options: Any) -> None:
        self._pulse = pulse
        self._turn = turn
        self._away = False
        self._is_set_up = False
        self._wall_ahead_s = _wall_ahead_s()
        super().__init__(app, **options)
        # Ours is asked for in tick: redbeat's would block, and no heartbeat comes out of a blocked process.
        self._lease_key: str = app.redbeat_conf.lock_key
        self.lock_key: str | None = None
        self.lock: Lock | None = None
        self._lease_s = app.redbeat_conf.lock_timeout or LEASE_S

    def setup_schedule(self) -> None:
        """Do nothing yet: Redis may be away, and only who has the lease writes the schedule."""

    def tick(self, **options: Any) -> float:
        """Send what is due; return the seconds until the next tick. Never raises for a Redis that is away."""
        self._pulse.beat()
        try:
            wait_s = self._tick_with_lease(**options)
        except (RedisError, OperationalError, OSError) as error:
            self._note(error)
            return AWAY_S
        self._note(None)
        return wait_s

    def _tick_with_lease(self, **options: Any) -> float:
        if not self._keep_lease() and not self._take_lease():
            return STANDBY_S
        if not self._is_set_up:
            super().setup_schedule()
            self._mend_schedule()
            self._is_set_up = True
        if self._clock_went_back():
            self._mend_schedule()
        self._fire()
        return min(float(super().tick(**options)), LONGEST_SLEEP_S)

    def _fire(self) -> None:
        """Fire what users have scheduled; whatever is wrong with that, our own ticks are sent."""
        try:
            if self._turn:
                self._turn()
        except FleetUnreachable as error:
            log.warning("schedules wait: %s", error)
        except Exception:
            log.exception("schedules could not be looked after")

    def _keep_lease(self) -> bool:
        if self.lock is None:
            return False
        try:
            self.lock.extend(self._lease_s, replace_ttl=True)
        except LockError:
            log.warning("the lease of beat was lost")
            self.lock = None
            return False
        return True

    def _take_lease(self) -> bool:
        lease = get_redis(self.app).lock(self._lease_key, timeout=self._lease_s, blocking=False, thread_local=False)
        if not lease.acquire():
            return False
        self.lock, self._is_set_up = lease, False
        log.info("this beat sends from now on")
        return True

    def _clock_went_back(self) -> bool:
        before, self._wall_ahead_s = self._wall_ahead_s, _wall_ahead_s()
        return before - self._wall_ahead_s > LATE_CLOCK_S

    def _mend_schedule(self) -> None:
        """Let entries that were last sent 'in the future' count from now: they would wait for the clock to catch up."""
        client = get_redis(self.app)
        for key in client.zrange(self.app.redbeat_conf.schedule_key, 0, -1):
            with contextlib.suppress(KeyError):
                entry = self.Entry.from_key(key, app=self.app)
                sent_at, now = entry.last_run_at, self.app.now()
                if sent_at is not None and (sent_at - now).total_seconds() > LATE_CLOCK_S:
                    log.warning("the clock went back: %s was last sent at %s, it is %s now", entry.name, sent_at, now)
                    entry.reschedule()

    def _note(self, error: Exception | None) -> None:
        if error is not None and not self._away:
            log.warning("Redis is away: %s", error)
        if error is None and self._away:
            log.info("Redis is back")
        self._away = error is not None

    def _ensure_connected(self) -> Any:
        """Connect for sending, trying once: Celery's own way tries for ever, and no heartbeat comes out of it."""
        return self.connection.ensure_connection(max_retries=1, timeout=3)

    def close(self) -> None:
        """Give the lease back, if Redis is there to take it."""
        with contextlib.suppress(RedisError, OSError):
            super().close()


def _wall_ahead_s() -> float:
    return time.time() - time.monotonic()


def service(
    app: Celery, pulse: Pulse, schedule: dict[str, dict[str, Any]], turn: Callable[[], object] | None = None
) -> Service:
    """Return Celery's beat service with our scheduler; `turn` is called about once a second, with the lease."""
    app.conf.beat_schedule = schedule
    if "redbeat_redis_url" not in app.conf:
        # Said here alone: it has a password, and workers tell whoever asks what their settings are.
        app.conf.redbeat_redis_url = app.conf.broker_url
    if "redbeat_redis_options" not in app.conf:
        app.conf.redbeat_redis_options = {**REDIS_OPTIONS, "retry": Retry(NoBackoff(), 0)}
    return Service(app, max_interval=LONGEST_SLEEP_S, scheduler_cls=partial(SteadyScheduler, pulse=pulse, turn=turn))


def run(
    app: Celery, pulse: Pulse, schedule: dict[str, dict[str, Any]], turn: Callable[[], object] | None = None
) -> None:
    """Send what the schedule says until a signal ends it; the lease is given back then."""
    for signum in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signum, lambda *_: sys.exit(0))
    service(app, pulse, schedule, turn).start()


def firing(at: Home) -> Callable[[], object]:
    """Return what fires the schedules of users, as the nodes.json in this folder says now."""
    from infra_tasks.ledger import Ledger  # noqa: PLC0415
    from infra_tasks.ledger.connect import FleetFile, url_of  # noqa: PLC0415
    from infra_tasks.schedules.turn import turn  # noqa: PLC0415

    file, ledger = FleetFile(at), Ledger.at(url_of(at), socket_timeout_s=ANSWER_WITHIN_S)
    return lambda: turn(ledger, file.current(), at)


def main() -> int:
    """Be the beat role until told to stop."""
    from beat_schedule import SCHEDULE  # noqa: PLC0415  the app reads nodes.json: importing this file must not
    from infra_tasks.app import app  # noqa: PLC0415

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    run(app, enter("beat"), SCHEDULE, firing(home()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
