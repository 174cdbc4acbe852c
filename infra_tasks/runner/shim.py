"""The parent process of one attempt: starts the command, keeps its output, holds it to its limit, empties its tree.

It does not end before the exit record is on disk. It is forked from the zygote, so that nothing is imported here at run
time, and needs nobody: worker, agent, zygote and Redis may all be gone. That it holds the attempt's lock (an open fd it
never touches, closed by its end) says that it lives.

Exact on Linux (subreaper: ECHILD proves that the tree is empty); for macOS see tree.py.
"""

from __future__ import annotations

import os
import resource
import signal
import sys
import time
from typing import Any

from infra_tasks.runner import command, tree
from infra_tasks.runner.attempt import MODE, Attempt, write_json_once, write_over
from infra_tasks.runner.clock import boot_clock, boot_id, process_started
from infra_tasks.runner.exitrecord import reserve, write_exit
from infra_tasks.runner.limits import kill_at, limits, outcome_due
from infra_tasks.runner.processes import COOKIE_VARIABLE, resident_bytes
from infra_tasks.runner.pump import Pump

LOOK_AT_ORDERS_EVERY_S = 0.2
KILL_EVERY_S = 0.02
KILL_SELDOM_EVERY_S = 0.2
ONLY_ZOMBIES_S = 1.0
"""Zombies that nobody reaps for this long (their parent cannot be killed, or a tracer holds them) are left."""
SAMPLE_MEMORY_AT_S = (0.1, 1.0)
SAMPLE_MEMORY_EVERY_S = 5.0
DEFAULT_CAP_BYTES = 64 * 1024 * 1024
ERRORS_LOGGED = 20
RSS_UNIT_BYTES = 1 if sys.platform == "darwin" else 1024
"""Unit of ru_maxrss (getrusage(2) of each platform)."""

RLIMIT_LOCKS = 10
"""Without any effect since Linux 2.4.25 (getrlimit(2)); Python does not name it."""
PR_SET_NAME, PR_SET_CHILD_SUBREAPER = 15, 36

if sys.platform == "linux":
    import ctypes

    _prctl = ctypes.CDLL(None).prctl
    _prctl.argtypes = (ctypes.c_int, ctypes.c_void_p, ctypes.c_ulong, ctypes.c_ulong, ctypes.c_ulong)


def mind(folder: str) -> None:
    """Carry out the attempt in `folder`, from its record to its exit record. Returns when nothing is left of it."""
    attempt = Attempt(folder)  # type: ignore[arg-type]  # a Path would cost every shim the import
    record = attempt.record()
    if record is None:
        raise FileNotFoundError(f"{folder}/record.json is missing or damaged: nothing was started")
    if not attempt.is_buried() and not attempt.was_started():
        _become_parent(record.get("mark"))
        _Shim(attempt, record).live()


def _become_parent(mark: object) -> None:
    """Leave everybody's session, be deaf to stray signals, and take all orphans in where the system can do that."""
    os.setsid()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    if sys.platform == "linux":
        _become_reaper(mark)


if sys.platform == "linux":

    def _become_reaper(mark: object) -> None:
        """Inherit orphans, say who we are, and hand the mark to everything below."""
        _prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        _prctl(PR_SET_NAME, ctypes.cast(ctypes.c_char_p(b"infra-shim"), ctypes.c_void_p), 0, 0, 0)
        if isinstance(mark, int) and mark > 0:
            try:
                resource.setrlimit(RLIMIT_LOCKS, (mark, mark))
            except (ValueError, OSError):
                return  # a shim inside a run of another fleet, not root: descent and cookie must do


class _Shim:
    """One life: start, then turns until the tree is empty, then the exit record."""

    def __init__(self, attempt: Attempt, record: dict[str, Any]) -> None:
        self._attempt, self._record = attempt, record
        self._started_at, self._started_boot = time.time(), boot_clock()
        self._bound = limits(record, {}, self._started_boot)
        self._orders_seen: tuple[int, ...] | None = None
        self._look_at = 0.0
        self._status: int | None = None
        self._stopped: str | None = None
        self._error: str | None = None
        self._term_at: float | None = None
        self._kill_since: float | None = None
        self._over = False
        self._survivors = 0
        self._sids: set[int] = set()
        self._max_rss_bytes = 0
        self._samples = list(SAMPLE_MEMORY_AT_S)
        self._pid = 0
        self._born = process_started(os.getpid())
        self._command_started: float | None = None
        self._dropped_bytes = 0
        self._errors_logged = 0

    def live(self) -> None:
        """Start and mind the command; a second shim of the same attempt finds started.json and leaves."""
        path = self._attempt.path
        try:
            if not write_json_once(path, "started.json", self._started()):
                return
            reserve(path)
            pump = Pump(path, self._cap_bytes(), _wake_fd())
        except OSError as error:
            self._stopped, self._error = "start_failed", f"cannot prepare the attempt's folder: {error}"
        else:
            self._look_at_orders()
            if self._attempt.is_buried():
                return
            self._start(pump)
            self._mind(pump)
        write_exit(path, self._exit_record())

    def _start(self, pump: Pump) -> None:
        """Start the command, unless it was stopped before it began."""
        self._stopped = outcome_due(boot_clock(), self._bound)
        argv, cwd = self._record.get("command") or [""], str(self._record.get("cwd"))
        try:
            env = {**self._record["env"], COOKIE_VARIABLE: self._record["cookie"]}
            self._pid = 0 if self._stopped else command.start(argv, env, cwd, *pump.ends)
        except (OSError, ValueError, TypeError, LookupError) as error:
            self._stopped, self._error = "start_failed", command.why_not(argv, cwd, error)
        pump.started()
        self._over = not self._pid
        if self._pid:
            self._tell_pid()

    def _tell_pid(self) -> None:
        self._command_started = process_started(self._pid)
        try:
            write_over(self._attempt.path, "started.json", self._started())
        except OSError:
            return  # disk full: the first one says that it may run, cookie and mark say where

    def _mind(self, pump: Pump) -> None:
        """Turn until it is over. Whatever goes wrong in a turn, the limit must still hold: log it and go on."""
        while not self._over:
            try:
                self._turn(pump)
            except Exception:  # noqa: BLE001  nobody else would stop the command
                self._log_error()
                time.sleep(KILL_EVERY_S)
        pump.drain()
        self._dropped_bytes = pump.dropped_bytes
        if self._dropped_bytes:
            self._error = f"{self._dropped_bytes} bytes of output could not be written: {pump.refusal}"

    def _turn(self, pump: Pump) -> None:
        self._reap()
        if self._over:
            return
        self._look_at_orders()
        self._stop_if_due()
        self._kill_if_due()
        self._sample_memory()
        if not self._over:
            pump.turn(self._patience_s())

    def _reap(self) -> None:
        """Reap whoever ended; the tree is empty when there is nobody left to wait for."""
        try:
            while (ended := os.waitpid(-1, os.WNOHANG))[0]:
                if ended[0] == self._pid:
                    self._status = os.waitstatus_to_exitcode(ended[1])
        except ChildProcessError:
            self._over = sys.platform == "linux" or self._nobody_left()

    def _nobody_left(self) -> bool:
        """Look twice for whoever left our tree (macOS)."""
        return not any(self._below().living() for _ in range(tree.EMPTY_LOOKS))

    def _look_at_orders(self) -> None:
        """Take orders up. Ordinarily one stat, and only when it is time."""
        now = boot_clock()
        if now < self._look_at:
            return
        self._look_at = now + LOOK_AT_ORDERS_EVERY_S
        seen = self._attempt.orders_stamp()
        if seen != self._orders_seen:
            self._orders_seen = seen
            self._bound = limits(self._record, self._attempt.orders(), self._started_boot)

    def _stop_if_due(self) -> None:
        """Ask the tree to stop: at an order, a limit, or because the command ended and left somebody behind."""
        if self._term_at is not None:
            return
        now = boot_clock()
        if self._status is None:
            self._stopped = outcome_due(now, self._bound)
            if self._stopped is None:
                return
        self._term_at = now
        if now < kill_at(now, self._bound):
            tree.ask_to_stop(self._below())

    def _kill_if_due(self) -> None:
        """Kill whoever is left when grace is over, in every turn again, until nobody is or nobody can be killed."""
        now = boot_clock()
        if self._term_at is None or now < kill_at(self._term_at, self._bound):
            return
        if self._kill_since is None:
            self._kill_since = now
        found = self._below()
        tree.kill(found)
        living = len(found.living())
        if now - self._kill_since > (tree.GIVE_UP_AFTER_S if living else ONLY_ZOMBIES_S):
            self._survivors, self._over = living, True

    def _below(self) -> tree.Found:
        return tree.below(os.getpid(), self._record["cookie"], self._sids)

    def _sample_memory(self) -> None:
        """Add up the tree's memory now and then; one process alone is in ru_maxrss anyway."""
        age_s = boot_clock() - self._started_boot
        if self._term_at is None and age_s >= self._samples[0]:
            self._samples = self._samples[1:] or [age_s + SAMPLE_MEMORY_EVERY_S]
            self._max_rss_bytes = max(self._max_rss_bytes, resident_bytes(os.getpid()))

    def _patience_s(self) -> float:
        """Return how long there is nothing to do unless something happens."""
        now = boot_clock()
        if self._kill_since is not None:
            return KILL_EVERY_S if now - self._kill_since < 1 else KILL_SELDOM_EVERY_S
        if self._term_at is None:
            next_at = min(self._bound.limit_at, self._bound.stop_at, self._started_boot + self._samples[0])
        else:
            next_at = kill_at(self._term_at, self._bound)
        return max(0.0, min(next_at, self._look_at) - now)

    def _cap_bytes(self) -> int:
        return int(self._record.get("output_cap_bytes") or DEFAULT_CAP_BYTES)

    def _started(self) -> dict[str, Any]:
        return {
            "shim_pid": os.getpid(),
            "shim_started": self._born,
            "command_pid": self._pid or None,
            "command_started": self._command_started,
            "sid": self._pid or None,
            "started_at": self._started_at,
            "started_boot": self._started_boot,
            "boot_id": boot_id(),
        }

    def _exit_record(self) -> dict[str, Any]:
        usage = resource.getrusage(resource.RUSAGE_CHILDREN)
        code = self._status
        ended = "exited" if code is None or code >= 0 else "signaled"
        return {
            "run": self._record.get("run"),
            "attempt": self._record.get("attempt"),
            "claim": self._record.get("claim"),
            "outcome": self._stopped or ended,
            "exit_code": code if code is not None and code >= 0 else None,
            "signal": -code if code is not None and code < 0 else None,
            "started_at": self._started_at if self._pid else None,
            "ended_at": time.time(),
            "duration_s": boot_clock() - self._started_boot,
            "survivors": self._survivors,
            "max_rss_bytes": max(self._max_rss_bytes, usage.ru_maxrss * RSS_UNIT_BYTES),
            "cpu_s": usage.ru_utime + usage.ru_stime,
            "output_dropped_bytes": self._dropped_bytes,
            "error": self._error,
            "boot_id": boot_id(),
        }

    def _log_error(self) -> None:
        self._errors_logged += 1
        if self._errors_logged <= ERRORS_LOGGED:
            log_traceback(self._attempt.path)


def log_traceback(folder: str) -> None:
    """Leave the traceback of the exception at hand in the attempt's folder."""
    try:
        fd = os.open(f"{folder}/shim.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, MODE)
    except OSError:
        return
    os.dup2(fd, 2, inheritable=False)
    os.close(fd)
    sys.excepthook(*sys.exc_info())


def _wake_fd() -> int:
    """Return an fd that becomes readable with every SIGCHLD."""
    read_end, write_end = os.pipe()
    os.set_blocking(write_end, False)
    signal.set_wakeup_fd(write_end, warn_on_full_buffer=False)
    return read_end
