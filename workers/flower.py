"""The flower role: Flower on loopback behind a password; it remembers on disk and survives Redis restarts."""

from __future__ import annotations

import logging
import signal
import sys
import time
from typing import TYPE_CHECKING

from celery.events import EventReceiver
from flower.app import Flower
from flower.events import Events
from flower.options import options
from flower.urls import settings as web_settings
from tornado.ioloop import IOLoop, PeriodicCallback

from infra_tasks.settings import home as home_of
from workers.node_file import LOOPBACK, is_free, new_port, password_of, port_of
from workers.role import enter

if TYPE_CHECKING:
    from celery import Celery

    from infra_tasks.settings import Home

USER = "infra"
BEAT_EVERY_MS = 500
SAVE_EVERY_MS = 60_000
LISTEN_AGAIN_S = 1.0  # Flower's own pause doubles for as long as Redis is away, without a bound
MAX_TASKS = 10_000  # its default of 100,000 is too much memory for a page people scroll

log = logging.getLogger("flower")


class SteadyEvents(Events):  # type: ignore[misc]
    """Flower's ears, which listen again a moment after Redis is back."""

    def run(self) -> None:
        """Listen to Celery's events for ever."""
        while True:
            try:
                self._listen()
            except Exception as error:  # noqa: BLE001  this loop must live, whatever a lost connection raises
                log.warning("lost Celery's events (%s); listening again", error)
            time.sleep(LISTEN_AGAIN_S)

    def _listen(self) -> None:
        with self.capp.connection() as connection:
            receiver = EventReceiver(connection, handlers={"*": self.on_event}, app=self.capp)
            receiver.capture(limit=None, timeout=None, wakeup=True)


def set_options(home: Home) -> None:
    """Give Flower its options in this process: a password on a command line could be seen by all."""
    state = home.root / "flower"
    state.mkdir(mode=0o700, parents=True, exist_ok=True)
    port = port_of(home, "flower")
    options.address = LOOPBACK
    options.port = port if is_free(port) else new_port(home, "flower")
    options.basic_auth = [f"{USER}:{password_of(home, 'flower')}"]
    options.persistent = True
    options.db = str(state / "state")
    options.state_save_interval = SAVE_EVERY_MS
    options.max_tasks = MAX_TASKS
    web_settings["debug"] = False
    logging.getLogger("tornado.access").setLevel(logging.ERROR)  # a line per request of an open page says nothing


def build(app: Celery) -> Flower:
    """Return the web application, not yet listening."""
    events = SteadyEvents(
        app,
        IOLoop.current(),
        db=options.db,
        persistent=options.persistent,
        enable_events=options.enable_events,
        state_save_interval=options.state_save_interval,
        max_workers_in_memory=options.max_workers,
        max_tasks_in_memory=options.max_tasks,
    )
    return Flower(capp=app, options=options, events=events, io_loop=IOLoop.current(), **web_settings)


def main() -> int:
    """Be the flower role until told to stop."""
    from infra_tasks.app import app  # noqa: PLC0415  the app reads nodes.json: importing this file must not

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    pulse = enter("flower")
    app.conf.include = ()  # Flower shows tasks, it never runs one: their modules are only memory here
    set_options(home_of())
    web = build(app)
    for signum in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signum, lambda *_: web.io_loop.add_callback_from_signal(web.io_loop.stop))
    web.start_http_server()
    log.info("http://%s:%s, user %s", options.address, options.port, USER)
    # Deaf is as bad as hung: no heartbeat without the thread that listens.
    PeriodicCallback(lambda: pulse.beat() if web.events.is_alive() else None, BEAT_EVERY_MS).start()
    web.start()
    web.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
