"""Attempts for tests of the runner: made in a folder of the test, started by a real zygote, all gone when it ends."""

from __future__ import annotations

import os
import random
import secrets
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
from waiting import eventually

from infra_tasks.runner import tree
from infra_tasks.runner.attempt import Attempt
from infra_tasks.runner.clock import boot_id
from infra_tasks.runner.launch import Shim, Zygote

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

PYTHON = [sys.executable, "-I", "-S", "-c"]

PROGRAM = """
import os, signal, sys, time
def here():
    open(f"{sys.argv[1]}/{os.getpid()}", "w").close()
def deaf():
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
END = time.monotonic() + 120
def last():
    here()
    while time.monotonic() < END:
        time.sleep(1)
def daemon():
    between = os.fork()
    if between:
        os.waitpid(between, 0)
        return False
    os.setsid()
    if os.fork():
        os._exit(0)
    return True
"""
"""What the programs of these tests are made of. Each process that matters leaves its pid as a file.

Everything ends by itself some day, should the test itself be killed.
"""


class Rig:
    """One test's folder, zygote and attempts."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.pids = folder / "pids"
        self.pids.mkdir()
        self.zygote = Zygote()
        self._shims: list[tuple[Attempt, Shim]] = []
        self._innocents: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for innocent in self._innocents:
            innocent.kill()
            innocent.wait()
        for attempt, shim in self._shims:
            self._clean(attempt)
            shim.wait(180)
            shim.close()
        self.zygote.close()
        for pid in self.seen():
            if str(self.pids) in command_line(pid):
                end(pid)

    def record(self, command: list[str], **changes: Any) -> dict[str, Any]:
        """Return a record with everything a shim needs."""
        return {
            "run": secrets.token_hex(4),
            "attempt": 1,
            "claim": "claim-1",
            "node": "here",
            "command": command,
            "env": {"PATH": os.environ["PATH"]},
            "cwd": str(self.folder),
            "timeout_s": 60,
            "grace_s": 0.3,
            "limit_from": "start",
            "stop_at": None,
            "cookie": secrets.token_hex(8),
            "mark": random.randrange(1 << 32, 1 << 48),
            "output_cap_bytes": 3_000_000,
            "boot_id": boot_id(),
        } | changes

    def attempt(self, command: list[str], folder: Path | None = None, **changes: Any) -> Attempt:
        """Make an attempt and write its record."""
        attempt = Attempt(folder or self.folder / "runs" / secrets.token_hex(4) / "1")
        attempt.folder.mkdir(parents=True, exist_ok=True)
        attempt.write_record(self.record(command, **changes))
        return attempt

    def launch(self, attempt: Attempt, secrets: dict[str, str] | None = None) -> Shim:
        """Start the shim of an attempt as a worker does."""
        lock = attempt.take_lock()
        assert lock is not None
        try:
            shim = self.zygote.launch(attempt, lock, secrets=secrets)
        finally:
            os.close(lock)
        self._shims.append((attempt, shim))
        return shim

    def start(self, command: list[str], **changes: Any) -> tuple[Attempt, Shim]:
        """Make an attempt and start its shim."""
        attempt = self.attempt(command, **changes)
        return attempt, self.launch(attempt)

    def run(self, command: list[str], within_s: float = 180, **changes: Any) -> tuple[Attempt, dict[str, Any]]:
        """Start a command, wait for the end of its shim, return its exit record."""
        attempt, shim = self.start(command, **changes)
        return attempt, self.ended(attempt, shim, within_s)

    def ended(self, attempt: Attempt, shim: Shim, within_s: float = 180) -> dict[str, Any]:
        """Wait for the end of a shim and return the exit record."""
        assert shim.wait(within_s), f"the shim still lives: {attempt.started()}"
        record = attempt.exit_record()
        assert record is not None, said_by_shim(attempt)
        return record

    def program(self, text: str) -> list[str]:
        """Return the argv of a program that tells its pids to this rig."""
        return [*PYTHON, PROGRAM + text, str(self.pids)]

    def innocent(self, command: list[str]) -> subprocess.Popen[bytes]:
        """Start somebody of the same name who has nothing to do with any attempt."""
        (self.folder / "innocents").mkdir(exist_ok=True)
        argv = [*command[:-1], str(self.folder / "innocents")]
        self._innocents.append(subprocess.Popen(argv, start_new_session=True))
        return self._innocents[-1]

    def seen(self) -> list[int]:
        """Return the pids the programs have told."""
        return [int(path.name) for path in self.pids.iterdir()]

    def wait_for(self, count: int) -> list[int]:
        """Wait until so many processes are there."""
        return eventually(lambda: (len(self.seen()) >= count and self.seen()) or None, 30, f"{count} processes")

    def alive(self, attempt: Attempt) -> list[int]:
        """Return who lives of those that told their pid (and not who has it by now), or carries the mark."""
        told = set(self.seen())

        def is_ours(pid: int) -> bool:
            return (pid in told and str(self.pids) in command_line(pid)) or _carries(pid, attempt)

        return [pid for pid in psutil.pids() if is_alive(pid) and is_ours(pid)]

    def _clean(self, attempt: Attempt) -> None:
        record, started = attempt.record(), attempt.started()
        if started and attempt.is_locked():
            tree.kill_shim(started)
        if record:
            tree.kill_leftovers(started, record["cookie"], record["mark"], grace_s=0)


def is_alive(pid: int) -> bool:
    """Say whether a process lives and is no zombie."""
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def command_line(pid: int) -> list[str]:
    """Return the arguments of a process, none when it is gone."""
    try:
        return psutil.Process(pid).cmdline()
    except psutil.NoSuchProcess:
        return []


def end(pid: int) -> None:
    """Kill -9, and wait until it is gone."""
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    eventually(lambda: not is_alive(pid), 20, f"{pid} is gone")


def said_by_shim(attempt: Attempt) -> str:
    """Return what a broken shim left."""
    log = attempt.folder / "shim.log"
    there = sorted(path.name for path in attempt.folder.iterdir())
    return f"no exit record in {there}: {log.read_text() if log.exists() else 'no log'}"


def _carries(pid: int, attempt: Attempt) -> bool:
    """Look for the mark in a way of our own."""
    record = attempt.record()
    try:
        limits = Path(f"/proc/{pid}/limits").read_text()
    except OSError:
        return False
    return record is not None and f" {record['mark']} " in limits
