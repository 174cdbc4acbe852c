"""A wall around the memory of an attempt: a cgroup of its own, where this machine lets us make one (Linux).

    version 2   below a cgroup that was handed to us (systemd: Delegate=) and holds nobody itself; not below that of a
                service: systemd starts it in the cgroup itself, which the kernel refuses (EBUSY) while it limits memory
                below, and roles that outlive their watcher would keep the next one out for good
                (https://github.com/systemd/systemd/pull/41304)
    version 1   below the cgroup of the memory controller that we are in

See cgroups(7), and in the kernel's own words admin-guide/cgroup-v2 and cgroup-v1/memory. Where there is none, or not
enough rights, `make` returns None, and the memory is only looked at (memory.py). Runs in a shim: no pathlib.
"""

from __future__ import annotations

import os
import sys
from typing import NamedTuple

from infra_tasks.runner.processes import read

NAME = "infra-"
DELEGATED = ("trusted.delegate", "user.delegate")
"""What systemd writes on a cgroup whose inside is ours (systemd.resource-control(5))."""
SERVICE = ".service"
MEMBERS = "cgroup.procs"
ROLES = "roles"


class Form(NamedTuple):
    """What the files of a version are called."""

    limit: str
    swap: str
    swap_too: bool  # the swap file counts memory as well
    events: str


V1 = Form("memory.limit_in_bytes", "memory.memsw.limit_in_bytes", True, "memory.oom_control")
V2 = Form("memory.max", "memory.swap.max", False, "memory.events")


class Home(NamedTuple):
    """Where cells can be made, and where we are ourselves."""

    parent: str
    own: str
    form: Form


class Cell:
    """One cell. What is started while the shim is `entered` stays in it, with all that comes of it."""

    def __init__(self, folder: str, home: Home) -> None:
        self._folder, self._home = folder, home
        self._stands = False

    def enter(self) -> None:
        """Go in: only to start the command, which cannot get there by itself. Where we may not, there is no wall."""
        _try_to_write(f"{self._folder}/{MEMBERS}", "0")

    def leave(self, limit_bytes: int) -> None:
        """Go back, and only then put the wall up: of all within it the kernel ends the biggest first, or everybody.

        There is none where we cannot go back, or where more is held already (version 1).
        """
        try:
            _write(f"{self._home.own}/{MEMBERS}", "0")
            _try_to_write(f"{self._folder}/memory.oom.group", "1")
            _write(f"{self._folder}/{self._home.form.limit}", str(limit_bytes))
        except OSError:
            return
        self._stands = True
        _try_to_write(f"{self._folder}/{self._home.form.swap}", str(limit_bytes if self._home.form.swap_too else 0))

    def kills(self) -> int:
        """Return how many processes in it the kernel has ended for want of memory."""
        events = read(f"{self._folder}/{self._home.form.events}") if self._stands else b""
        for line in events.splitlines():
            if line.startswith(b"oom_kill "):
                return int(line.split()[1])
        return 0


def make(cookie: str) -> Cell | None:
    """Return a new cell, without a wall yet; None where none can be had."""
    home = _home()
    if home is None:
        return None
    folder = _folder(home, cookie)
    try:
        os.mkdir(folder)  # noqa: PTH102
    except OSError:
        return None
    return Cell(folder, home)


def make_room() -> None:
    """Go into a group of our own below the cgroup that was handed to us: who is in that itself has no cells there."""
    if sys.platform != "linux":
        return
    folder = place(_said("mountinfo"), "cgroup2", "", _path(_said("cgroup"), ""))
    if folder and _is_ours(folder):
        _try_to_make(f"{folder}/{ROLES}")
        _try_to_write(f"{folder}/{ROLES}/{MEMBERS}", "0")


def remove(cookie: str) -> None:
    """Take the cell of an attempt away, if there is one and nobody is left in it."""
    home = _home()
    if home is not None:
        _remove(_folder(home, cookie))


def _folder(home: Home, cookie: str) -> str:
    return f"{home.parent}/{NAME}{cookie}"


def _remove(folder: str) -> None:
    try:
        os.rmdir(folder)  # noqa: PTH106
    except OSError:
        return  # never made, or somebody could not be killed


def _home() -> Home | None:
    if sys.platform != "linux":
        return None
    mounts, own = _said("mountinfo"), _said("cgroup")
    return second_home(mounts, own) or first_home(mounts, own)


def _said(name: str) -> str:
    """Return what the kernel says of us; a place where something is mounted may be called anything, not only UTF-8."""
    return os.fsdecode(read(f"/proc/self/{name}"))


def first_home(mounts: str, own: str) -> Home | None:
    """Return where version 1 has our memory."""
    folder = place(mounts, "cgroup", "memory", _path(own, "memory"))
    return Home(folder, folder, V1) if folder and os.access(folder, os.W_OK) else None


def second_home(mounts: str, own: str) -> Home | None:
    """Return the nearest cgroup of version 2 that was handed to us and can have cells with a limit of memory."""
    folder = place(mounts, "cgroup2", "", _path(own, ""))
    if not folder or b"memory" not in read(f"{folder}/cgroup.controllers").split():
        return None
    for parent in (folder, os.path.dirname(folder)):  # noqa: PTH120
        if _is_ours(parent) and _gives_memory(parent):
            return Home(parent, folder, V2)
    return None


def _is_ours(folder: str) -> bool:
    if folder.endswith(SERVICE):
        return False
    for name in DELEGATED:
        try:
            return os.getxattr(folder, name) == b"1"
        except OSError:
            continue
    return False


def _gives_memory(folder: str) -> bool:
    """Have the cgroups below it limit memory: refused as long as a process is in it itself."""
    _try_to_write(f"{folder}/cgroup.subtree_control", "+memory")
    return b"memory" in read(f"{folder}/cgroup.subtree_control").split()


def _path(own: str, controller: str) -> str | None:
    """Return where we are, as /proc/self/cgroup says: `5:memory:/a`, or `0::/a` of version 2."""
    for line in own.splitlines():
        _, controllers, path = line.split(":", 2)
        if controller in controllers.split(","):
            return path
    return None


def place(mounts: str, kind: str, option: str, path: str | None) -> str | None:
    """Return the folder of a cgroup, by where /proc/self/mountinfo says that its tree, or a part of it, is mounted."""
    for line in mounts.splitlines() if path else ():
        here, _, there = line.partition(" - ")
        fields, mounted = here.split(), there.split()
        if not mounted or mounted[0] != kind or (option and option not in mounted[-1].split(",")):
            continue
        top, folder = fields[3], fields[4]
        if path and (top in ("/", path) or path.startswith(f"{top}/")):
            below = path if top == "/" else path[len(top) :]
            return (folder + below).rstrip("/") or None
    return None


def _write(path: str, text: str) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, text.encode())
    finally:
        os.close(fd)


def _try_to_make(folder: str) -> None:
    try:
        os.mkdir(folder)  # noqa: PTH102
    except OSError:
        return  # it is there, or it may not be


def _try_to_write(path: str, text: str) -> None:
    try:
        _write(path, text)
    except OSError:
        return  # this kernel, or this machine, has no such thing
