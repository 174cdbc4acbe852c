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

from infra_tasks.model.amounts import bytes_in_words
from infra_tasks.model.redactor import Redactor
from infra_tasks.runner import cell, command, handing, tree
from infra_tasks.runner.attempt import MODE, Attempt, write_json_once, write_over
from infra_tasks.runner.clock import boot_clock, boot_id, process_started
from infra_tasks.runner.exitrecord import reserve, write_exit
from infra_tasks.runner.limits import NEVER, kill_at, limits, outcome_due
from infra_tasks.runner.memory import Watch, kills_by_kernel
from infra_tasks.runner.processes import COOKIE_VARIABLE
from infra_tasks.runner.pump import Pump

LOOK_AT_ORDERS_EVERY_S = 0.2
KILL_EVERY_S = 0.02
KILL_SELDOM_EVERY_S = 0.2
ONLY_ZOMBIES_S = 1.0
"""Zombies that nobody reaps for this long (their parent cannot be killed, or a tracer holds them) are left."""
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


def mind(folder: str, secrets_fd: int | None = None) -> None:
    """Carry out the attempt in `folder`, from its record to its exit record. Returns when nothing is left of it.

    `secrets_fd`: where its secrets come from; closed here.
    """
    attempt = Attempt(folder)  # type: ignore[arg-type]  # a Path would cost every shim the import
    record = attempt.record()
    if record is None:
        raise FileNotFoundError(f"{folder}/record.json is missing or damaged: nothing was started")
    if not attempt.is_buried() and not attempt.was_started():
        _become_parent(record.get("mark"))
        _Shim(attempt, record, {} if secrets_fd is None else handing.take(secrets_fd)).live()


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

    def __init__(self, attempt: Attempt, record: dict[str, Any], secrets: dict[str, str] | None) -> None:
        self._attempt, self._record, self._secrets = attempt, record, secrets or {}
        self._redactor = Redactor(self._secrets.values()) if secrets else None
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
        self._memory = Watch(os.getpid(), self._bound.memory_bytes, self._started_boot)
        self._cell: cell.Cell | None = None
        self._kills_by_kernel = kills_by_kernel()
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
            pump = Pump(path, self._cap_bytes(), _wake_fd(), self._redactor)
        except OSError as error:
            # The room it was claimed in may have been another attempt's: nothing is wrong with the run.
            self._stopped, self._error = "lost", f"cannot prepare the attempt's folder: {error}"
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
        if not self._stopped and not self._secrets.keys() >= set(self._record.get("secrets") or ()):
            self._stopped, self._error = "lost", "whoever started its shim was gone before its secrets were handed over"
        argv, cwd = self._record.get("command") or [""], str(self._record.get("cwd"))
        try:
            env = {**self._record["env"], **self._secrets, COOKIE_VARIABLE: self._record["cookie"]}
            self._pid = 0 if self._stopped else self._start_in_cell(argv, env, cwd, *pump.ends)
        except (OSError, ValueError, TypeError, LookupError) as error:
            self._stopped, self._error = "start_failed", command.why_not(argv, cwd, error)
        pump.started()
        self._over = not self._pid
        if self._pid:
            self._tell_pid()

    def _start_in_cell(self, argv: list[str], env: dict[str, str], cwd: str, out: int, err: int) -> int:
        """Start the command, behind a wall if its memory has a limit and this machine lets us build one."""
        limit_bytes = self._bound.memory_bytes
        if limit_bytes < NEVER and self._record.get("wall") is not False:
            self._cell = cell.make(self._record["cookie"])
        if self._cell is None:
            return command.start(argv, env, cwd, out, err)
        self._cell.enter()
        try:
            return command.start(argv, env, cwd, out, err)
        finally:
            self._cell.leave(int(limit_bytes))

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
        if self._stopped is None and self._hit_the_wall():
            self._stopped = "memory"
        if self._cell is not None:
            cell.remove(self._record["cookie"])
        pump.drain()
        self._dropped_bytes = pump.dropped_bytes
        if self._dropped_bytes:
            dropped = f"{self._dropped_bytes} bytes of output could not be written: {pump.refusal}"
            self._error = f"{self._error}; {dropped}" if self._error else dropped

    def _turn(self, pump: Pump) -> None:
        self._reap()
        if self._over:
            return
        self._look_at_orders()
        self._stop_if_due()
        self._kill_if_due()
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
            self._stopped = outcome_due(now, self._bound) or self._too_much_memory(now)
            if self._stopped is None:
                return
        self._term_at = now
        if now < kill_at(now, self._bound):
            tree.ask_to_stop(self._below())

    def _too_much_memory(self, now: float) -> str | None:
        is_time = now >= self._memory.look_at
        why = self._memory.turn(now)
        if why is not None:
            self._error = why
        return "memory" if why is not None or (is_time and self._hit_the_wall()) else None

    def _hit_the_wall(self) -> bool:
        """Say whether the kernel has ended any of its processes at the wall."""
        kills = self._cell.kills() if self._cell else 0
        if kills:
            allowed = bytes_in_words(int(self._bound.memory_bytes))
            self._error = (
                f"the kernel ended {kills} of its processes: they wanted more than the {allowed} of memory allowed"
            )
        return kills > 0

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

    def _patience_s(self) -> float:
        """Return how long there is nothing to do unless something happens."""
        now = boot_clock()
        if self._kill_since is not None:
            return KILL_EVERY_S if now - self._kill_since < 1 else KILL_SELDOM_EVERY_S
        if self._term_at is None:
            next_at = min(self._bound.limit_at, self._bound.stop_at, self._memory.look_at)
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
            "max_rss_bytes": max(self._memory.max_bytes, usage.ru_maxrss * RSS_UNIT_BYTES),
            "cpu_s": usage.ru_utime + usage.ru_stime,
            "kills_by_kernel": kills_by_kernel() - self._kills_by_kernel,
            "output_dropped_bytes": self._dropped_bytes,
            "error": self._redactor.text(self._error) if self._redactor and self._error else self._error,
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
