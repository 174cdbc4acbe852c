"""Keeps a program running as a systemd unit does: Restart=always, RestartSec=1, and the default KillMode.

That is what Celery's documentation gives its users. When the main process has ended, what is left of the unit's control
group is ended too - asked, and killed after TimeoutStopSec - and then the program starts again.
"""

from __future__ import annotations

import os
import subprocess
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

RESTART_S = 1.0
TIMEOUT_STOP_S = 90.0
LOOK_EVERY_S = 0.1
UNIT = "CHAOS_UNIT"
"""The variable that stands for the control group: all that a unit starts inherits it, also in a session of its own."""


class Service:
    """One unit. `start`, `pid`, `members`, `close`."""

    def __init__(self, unit: str, command: list[str], env: Mapping[str, str], folder: Path) -> None:
        self.unit, self._command = unit, command
        self._env, self._folder = {**env, UNIT: unit}, folder
        self._process: subprocess.Popen[bytes] | None = None
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._keep, daemon=True)
        self.starts = 0

    def start(self) -> None:
        self._thread.start()

    @property
    def pid(self) -> int | None:
        """The main process, if it lives."""
        process = self._process
        return process.pid if process is not None and process.poll() is None else None

    def members(self) -> list[psutil.Process]:
        """Return every process of the unit."""
        return marked(UNIT, lambda said: said == self.unit)

    def close(self) -> None:
        """End all of it."""
        self._over.set()
        while self._thread.is_alive() or self.pid:
            if self._process is not None:
                self._process.kill()  # its environment may not be there to be read: Redis writes its title over it
            for one in self.members():
                _end(one, one.kill)
            self._thread.join(0.2)
        for one in self.members():
            _end(one, one.kill)

    def _keep(self) -> None:
        while not self._over.is_set():
            with (self._folder / f"{self.unit.rpartition('/')[2]}.log").open("ab") as log:
                self._process = subprocess.Popen(self._command, env=self._env, cwd=self._folder, stdout=log, stderr=log)
            self.starts += 1
            self._process.wait()
            self._end_what_is_left()
            self._over.wait(RESTART_S)

    def _end_what_is_left(self) -> None:
        left = self.members()
        for one in left:
            _end(one, one.terminate)
        deadline = time.monotonic() + TIMEOUT_STOP_S
        while (deaf := [one for one in left if _lives(one)]) and time.monotonic() < deadline:
            time.sleep(LOOK_EVERY_S)
        for one in deaf:
            _end(one, one.kill)


def _lives(process: psutil.Process) -> bool:
    """Whether it lives: a zombie that nobody has collected yet does not."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def _end(process: psutil.Process, how: Callable[[], object]) -> None:
    with suppress(psutil.Error):
        how()


def marked(variable: str, fits: Callable[[str], bool]) -> list[psutil.Process]:
    """Return every living process, but this one, that has a fitting variable in its environment."""
    return list(_marked(variable, fits))


def _marked(variable: str, fits: Callable[[str], bool]) -> Iterable[psutil.Process]:
    for one in psutil.process_iter():
        with suppress(psutil.Error):
            said = one.environ().get(variable)
            if said is not None and fits(said) and one.pid != os.getpid() and _lives(one):
                yield one
