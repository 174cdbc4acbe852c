"""The folder of one attempt: its lock and the records that node and shim leave for each other in it.

    lock            flock: whoever holds it minds this attempt; free means that nobody does
    record.json     what to run, whole; written before the shim starts
    orders.json     how the outside talks to the shim: stop, kill, another limit
    started.json    who runs; written by the shim right before the command is started
    exit.json       how it ended; fsynced together with the folder
    reported        the same file once more, from when the ledger knows the end
    tombstone.json  the node called the attempt dead: a shim that finds it never starts
    stdout.*, stderr.*, scratch/, shim.log (a traceback, should a shim ever break)

Everything is written beside and renamed, readable by its owner only: a record carries the command's environment.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

MODE = 0o600
ROOM_BYTES = 512
"""What is written over later has this size from the start, filled up with blanks."""
LOCK_TRIES = 5
LOCK_TRIES_WHILE_LOOKED_AT = 2000
LOCK_TRY_EVERY_S = 0.005
"""Somebody who only looks (`is_locked`) holds the lock for microseconds, or longer where he is put to sleep in between.

That must not fail a taker: a lock that can be shared is held by such people alone.
"""


class Attempt:
    """One attempt of a run, by its folder on this node."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = os.fspath(folder)

    def __repr__(self) -> str:
        return f"Attempt({self.path})"

    @property
    def scratch(self) -> Path:
        """Where the command may leave what ends with the attempt."""
        return self.folder / "scratch"

    def take_lock(self) -> int | None:
        """Make the folder, take the lock; return its fd (close-on-exec; closing it frees the lock), None if held."""
        os.makedirs(self.path, mode=0o700, exist_ok=True)  # noqa: PTH103  no pathlib in a shim
        found_held = 0
        for _ in range(LOCK_TRIES_WHILE_LOOKED_AT):
            fd = os.open(self._file("lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, MODE)
            if _locked(fd, fcntl.LOCK_EX) and self._is_our_lock(fd):
                return fd
            found_held += not _locked(fd, fcntl.LOCK_SH)
            os.close(fd)
            if found_held == LOCK_TRIES:
                break
            time.sleep(LOCK_TRY_EVERY_S)
        return None

    def forget(self) -> None:
        """Leave no trace of an attempt that never was: only for who holds the lock, with nothing beside it."""
        try:
            os.unlink(self._file("lock"))  # noqa: PTH108
            os.rmdir(self.path)  # noqa: PTH106
            os.rmdir(os.path.dirname(self.path))  # noqa: PTH106, PTH120
        except OSError:
            return  # something is there already: it is no longer ours to remove

    def is_over(self) -> bool:
        """Say whether it was called dead or has ended: nothing starts here any more."""
        return self.is_buried() or self.exit_record() is not None

    def is_locked(self) -> bool:
        """Say whether anybody holds the lock."""
        try:
            fd = os.open(self._file("lock"), os.O_RDONLY | os.O_CLOEXEC)  # the disk may be read-only
        except FileNotFoundError:
            return False
        try:
            return not _locked(fd, fcntl.LOCK_SH)
        finally:
            os.close(fd)

    def write_record(self, record: dict[str, Any]) -> None:
        """Keep the whole truth of the attempt: what to run and everything a run can be restored from."""
        write_json(self.path, "record.json", record)

    def record(self) -> dict[str, Any] | None:
        """Return record.json, None when it is missing or not readable."""
        return read_json(self._file("record.json"))

    def started(self) -> dict[str, Any] | None:
        """Return who runs; there from right before the command is started."""
        return read_json(self._file("started.json"))

    def exit_record(self) -> dict[str, Any] | None:
        """Return how the attempt ended."""
        return read_json(self._file("exit.json"))

    def orders(self) -> dict[str, Any]:
        """Return the orders given so far."""
        return read_json(self._file("orders.json")) or {}

    def orders_stamp(self) -> tuple[int, ...] | None:
        """Return what changes with every change of the orders; None while there are none."""
        try:
            stat = os.stat(self._file("orders.json"))  # noqa: PTH116
        except OSError:
            return None
        return stat.st_ino, stat.st_mtime_ns, stat.st_size

    def order(self, **changes: Any) -> None:
        """Change orders: `stop` (cancel, fenced, down), `kill` (no grace), `timeout_s` (from start), `stop_at`.

        Orders not named stay as they are, also when two callers give orders at once. The shim sees them within 0.2 s.
        """
        fd = os.open(self._file("orders.lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, MODE)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            write_json(self.path, "orders.json", {**self.orders(), **changes})
        finally:
            os.close(fd)

    def bury(self, why: str) -> None:
        """Write the tombstone. Only for who holds the lock; a shim that comes late finds it and never starts."""
        write_json(self.path, "tombstone.json", {"why": why, "buried_at": time.time()}, durable=True)

    def note_report(self) -> None:
        """Leave `reported`: the ledger knows the end from this moment (its mtime) on. A second name of exit.json."""
        try:
            os.link(self._file("exit.json"), self._file("reported"))
            os.utime(self._file("reported"))
        except OSError:
            write_json(self.path, "reported", {"at": time.time()})

    def note_state(self, state: str) -> None:
        """Leave `told.json`: the final state the ledger gave, where the exit record alone says another one."""
        write_json(self.path, "told.json", {"state": state})

    def noted_state(self) -> str | None:
        """Return the state of `told.json`, if it is there."""
        return (read_json(self._file("told.json")) or {}).get("state")

    def was_reported(self) -> bool:
        """Say whether the ledger knew the end once."""
        return os.path.exists(self._file("reported"))  # noqa: PTH110  no pathlib in a shim

    def was_started(self) -> bool:
        """Say whether a shim was about to start the command, or did."""
        return os.path.exists(self._file("started.json"))  # noqa: PTH110  no pathlib in a shim

    def is_buried(self) -> bool:
        """Say whether the attempt was called dead."""
        return os.path.exists(self._file("tombstone.json"))  # noqa: PTH110

    def _is_our_lock(self, fd: int) -> bool:
        """Folders are deleted some day: a lock on a file that has lost its name protects nothing."""
        try:
            return os.path.samestat(os.fstat(fd), os.stat(self._file("lock")))  # noqa: PTH116
        except FileNotFoundError:
            os.makedirs(self.path, mode=0o700, exist_ok=True)  # noqa: PTH103
            return False

    def _file(self, name: str) -> str:
        return f"{self.path}/{name}"


def read_json(path: str) -> dict[str, Any] | None:
    """Return the object in a file; None when the file is missing, cut off or holds something else."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    with os.fdopen(fd, "rb") as file:
        try:
            value = json.loads(file.read())
        except (OSError, ValueError):
            return None
    return value if isinstance(value, dict) else None


def write_json(folder: str, name: str, value: dict[str, Any], *, durable: bool = False) -> None:
    """Write beside, then rename; `durable` survives a power cut."""
    beside = write_beside(folder, name, json.dumps(value).encode(), durable=durable)
    os.rename(beside, f"{folder}/{name}")  # noqa: PTH104
    if durable:
        sync_folder(folder)


def write_json_once(folder: str, name: str, value: dict[str, Any]) -> bool:
    """Write a file that must not be there yet; False when somebody was first. Leaves room for `write_over`."""
    beside = write_beside(folder, name, json.dumps(value).encode().ljust(ROOM_BYTES))
    try:
        os.link(beside, f"{folder}/{name}")
    except FileExistsError:
        return False
    finally:
        os.unlink(beside)  # noqa: PTH108
    return True


def write_over(folder: str, name: str, value: dict[str, Any]) -> None:
    """Write in place over a file that `write_json_once` made: one write within one page, and no new file."""
    data = json.dumps(value).encode()
    if len(data) > ROOM_BYTES:
        write_json(folder, name, value)
        return
    fd = os.open(f"{folder}/{name}", os.O_WRONLY | os.O_CLOEXEC)
    try:
        write_all(fd, data.ljust(ROOM_BYTES))
    finally:
        os.close(fd)


def write_beside(folder: str, name: str, data: bytes, *, durable: bool = False) -> str:
    """Write a file under a name of this process and return that name."""
    beside = f"{folder}/.{name}.{os.getpid()}"
    fd = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, MODE)
    try:
        write_all(fd, data)
        if durable:
            sync_file(fd)
    except OSError:
        os.unlink(beside)  # noqa: PTH108
        raise
    finally:
        os.close(fd)
    return beside


def write_all(fd: int, data: bytes) -> None:
    """Write every byte or raise OSError."""
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(fd, rest) :]


def sync_file(fd: int) -> None:
    """Bring a file to the disk itself: on macOS fsync stops at the drive's cache (fsync(2) there)."""
    full = getattr(fcntl, "F_FULLFSYNC", None)
    if full is not None:
        try:
            fcntl.fcntl(fd, full)
        except OSError:
            pass
        else:
            return
    os.fsync(fd)


def sync_folder(path: str) -> None:
    """Bring the names in a folder to the disk."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _locked(fd: int, kind: int) -> bool:
    try:
        fcntl.flock(fd, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
