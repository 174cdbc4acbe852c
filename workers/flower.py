"""The flower role: Flower on loopback behind a password; it remembers on disk and survives Redis restarts."""

from __future__ import annotations

import logging
import signal
import sys
import time
from typing import TYPE_CHECKING

from celery.events import EventReceiver
from flower.events import Events
from flower.options import options
from flower.urls import settings as web_settings
from tornado.ioloop import IOLoop, PeriodicCallback

from infra_tasks.ledger import open_ledger
from infra_tasks.ledger.connect import fleet_of
from infra_tasks.settings import home as home_of
from infra_tasks.web.admission import USER, Admission
from infra_tasks.web.catching_up import ASK_EVERY_S, CatchingUp
from infra_tasks.web.window import Window
from workers.node_file import LOOPBACK, is_free, keep_port, new_port, password_of, port_of
from workers.role import enter

if TYPE_CHECKING:
    from celery import Celery

    from infra_tasks.settings import Home
    from workers.role import Pulse

BEAT_EVERY_MS = 500
# What is new is on disk so soon, and always within the second one; a big memory is written less often.
SAVE_AT_LEAST_S = 5.0
SAVE_AT_MOST_S = 60.0
SAVE_SHARE = 50
SAVE_LOOK_MS = 1000
# Who it is and where it goes (args) says more than an id.
COLUMNS = "name,args,state,received,started,runtime,worker,uuid"
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


class Saver:
    """Writes Flower's memory to disk when something of it is new, so that kill -9 loses seconds, not a minute."""

    def __init__(self, events: Events) -> None:
        self._events = events
        self._saved, self._saved_at, self._cost_s = self._count(), time.monotonic(), 0.0

    def turn(self, corrected: int) -> None:
        """Save if it is time; `corrected` counts what did not come as an event."""
        count, now = self._count() + corrected, time.monotonic()
        if is_due(now - self._saved_at, self._cost_s, is_new=count != self._saved):
            self._events.save_state()
            self._saved, self._saved_at = count, time.monotonic()
            self._cost_s = self._saved_at - now

    def _count(self) -> int:
        return int(self._events.state.task_count)


def is_due(age_s: float, cost_s: float, *, is_new: bool) -> bool:
    """Say whether to save: what is new soon, but for a small share of the time only; heartbeats now and then. Pure."""
    return age_s >= (max(SAVE_AT_LEAST_S, SAVE_SHARE * cost_s) if is_new else SAVE_AT_MOST_S)


def set_options(home: Home) -> None:
    """Give Flower its options in this process: a password on a command line could be seen by all."""
    state = home.root / "flower"
    state.mkdir(mode=0o700, parents=True, exist_ok=True)
    asked = fleet_of(home).flower
    options.address = LOOPBACK
    options.port = free_port(home, asked.port)
    options.basic_auth = [f"{USER}:{password_of(home, 'flower')}"]
    options.read_only = asked.read_only
    options.persistent = True
    options.db = str(state / "state")
    options.max_tasks = MAX_TASKS
    options.tasks_columns = COLUMNS
    web_settings["debug"] = False
    logging.getLogger("tornado.access").setLevel(logging.ERROR)  # a line per request of an open page says nothing


def free_port(home: Home, asked: int | None) -> int:
    """Return the port to listen on: the one nodes.json asks for, else the one of before, else another one."""
    if asked is not None and is_free(asked):
        keep_port(home, "flower", asked)
        return asked
    if asked is not None:
        log.warning("port %s, which nodes.json asks for (flower.port), is taken; `infra open` finds another one", asked)
    port = port_of(home, "flower")
    return port if is_free(port) else new_port(home, "flower")


def build(app: Celery, home: Home) -> Window:
    """Return the web application, not yet listening."""
    events = SteadyEvents(
        app,
        IOLoop.current(),
        db=options.db,
        persistent=options.persistent,
        enable_events=options.enable_events,
        max_workers_in_memory=options.max_workers,
        max_tasks_in_memory=options.max_tasks,
    )
    admission = Admission(password_of(home, "flower"), cookie=f"infra-{options.port}")
    return Window(home, admission, capp=app, options=options, events=events, io_loop=IOLoop.current(), **web_settings)


def keep_turning(web: Window, home: Home, pulse: Pulse) -> None:
    """Have all that is done again and again done while the web application runs."""
    behind = CatchingUp(lambda: web.events.state, open_ledger(home))
    saver = Saver(web.events)
    # Deaf is as bad as hung: no heartbeat without the thread that listens.
    PeriodicCallback(lambda: pulse.beat() if web.events.is_alive() else None, BEAT_EVERY_MS).start()
    PeriodicCallback(lambda: behind.turn(time.time()), ASK_EVERY_S * 1000).start()
    PeriodicCallback(lambda: saver.turn(behind.corrected), SAVE_LOOK_MS).start()


def main() -> int:
    """Be the flower role until told to stop."""
    from infra_tasks.app import app  # noqa: PLC0415  the app reads nodes.json: importing this file must not

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    pulse = enter("flower")
    app.conf.include = ()  # Flower shows tasks, it never runs one: their modules are only memory here
    app.set_default()  # Flower looks results up without saying whose
    home = home_of()
    set_options(home)
    web = build(app, home)
    for signum in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signum, lambda *_: web.io_loop.add_callback_from_signal(web.io_loop.stop))
    web.start_http_server()
    log.info("http://%s:%s, user %s", options.address, options.port, USER)
    keep_turning(web, home, pulse)
    web.start()
    web.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
