"""Find and kill all of an attempt, and nobody else.

Who belongs to it: the descendants of its shim; what carries its cookie in the environment or (Linux) its mark as
RLIMIT_LOCKS; the sessions of those when their leader belongs too or is gone; and all descendants of all these.

While the shim lives on Linux descent alone is exact: it is the subreaper of everything below it, nobody can leave its
tree, and `waitpid` says ECHILD when the tree is empty. On macOS there is neither subreaper nor mark: a process that
leaves its parent, its session *and* its environment at once is not found there. Outside everywhere is what somebody
else starts on our behalf: cron, at, launchd, systemd, docker; and on macOS what changed its user (setuid).

A process is (pid, start time): signals go only to the very process that was seen, never to a recycled pid.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from typing import TYPE_CHECKING, Any, NamedTuple

from infra_tasks.runner.clock import boot_id, process_started
from infra_tasks.runner.processes import Process, Table, descendants, look, marked, started_of

if TYPE_CHECKING:
    from collections.abc import Callable

GIVE_UP_AFTER_S = 10.0
"""A process that lives this long after its first SIGKILL cannot be killed: it is a survivor."""
LOOK_AGAIN_S = 0.02
LOOK_SELDOM_S = 0.2
EMPTY_LOOKS = 2
"""A child can be born behind the back of one look at /proc; not behind two, when the first found nobody to bear it."""


class Found(NamedTuple):
    """What one look found: all processes of the machine, and those of them that belong to the attempt."""

    table: Table
    pids: set[int]

    def living(self) -> set[int]:
        """Return those that are no zombies."""
        return {pid for pid in self.pids if not self.table[pid].zombie}


def below(shim: int, cookie: str, sids: set[int]) -> Found:
    """Return what belongs to a living shim; `sids` are sessions met before, and learns new ones (macOS)."""
    table = look()
    pids = descendants(table, {shim})
    if sys.platform == "darwin":
        pids = belonging(table, pids | marked(table, cookie, 0), sids) - {shim, 1}
        sids.update(table[pid].sid for pid in pids)
    return Found(table, pids)


def belonging(table: Table, seeds: set[int], sids: set[int]) -> set[int]:
    """Return the seeds, their sessions and all descendants of those.

    A session whose leader lives and does not belong is somebody else's, even when one of ours sits in it.
    """
    found = set(seeds)
    while True:
        sessions = sids | {table[pid].sid for pid in found}
        ours = {sid for sid in sessions if sid > 1 and (sid in found or sid not in table or table[sid].zombie)}
        grown = found | {one.pid for one in table.values() if one.sid in ours}
        grown |= descendants(table, grown)
        if grown == found:
            return found
        found = grown


def ask_to_stop(found: Found) -> None:
    """Send SIGTERM once to each, and SIGCONT so that stopped ones can hear it."""
    _signal(found, signal.SIGTERM)
    _signal(found, signal.SIGCONT)


def kill(found: Found) -> None:
    """Send SIGKILL to each."""
    _signal(found, signal.SIGKILL)


def kill_leftovers(started: dict[str, Any] | None, cookie: str, mark: int, *, grace_s: float) -> int:
    """Kill all of an attempt whose shim is dead; return the number of survivors (zombies are none).

    `started` is its started.json, for the command's session. SIGTERM, `grace_s`, then SIGKILL until nobody is left.
    Never touches the caller.
    """
    sids, spared = _session_of(started), {os.getpid(), 1}

    def find() -> Found:
        table = look()
        pids = belonging(table, marked(table, cookie, mark) - spared, sids) - spared
        sids.update(table[pid].sid for pid in pids)
        return Found(table, {pid for pid in pids if not table[pid].zombie})

    found = find()
    if found.pids:
        ask_to_stop(found)
        if _gone_within(grace_s, find, lambda _: None):
            return 0
    return 0 if _gone_within(GIVE_UP_AFTER_S, find, kill) else len(find().pids)


def kill_shim(started: dict[str, Any]) -> bool:
    """Kill -9 a shim that does not answer; True when the very process that wrote `started` was there to kill."""
    if started.get("boot_id") != boot_id():
        return False
    pid, begun = started.get("shim_pid"), started.get("shim_started")
    if not isinstance(pid, int) or begun is None:
        return False
    return send(pid, begun, signal.SIGKILL)


def _gone_within(span_s: float, find: Callable[[], Found], treat: Callable[[Found], None]) -> bool:
    """Look again and again, treat who is found; True as soon as nobody was found in two looks in a row."""
    deadline = time.monotonic() + span_s
    empty, pause_s = 0, LOOK_AGAIN_S
    while True:
        found = find()
        treat(found)
        empty = 0 if found.pids else empty + 1
        if empty >= EMPTY_LOOKS:
            return True
        left_s = deadline - time.monotonic()
        if left_s <= 0 and empty == 0:
            return False
        time.sleep(max(0.0, min(pause_s, left_s)))
        pause_s = min(pause_s * 1.2, LOOK_SELDOM_S)


def _session_of(started: dict[str, Any] | None) -> set[int]:
    """Return the command's session if the number can still mean it.

    Linux does without: whoever is in that session has the mark, and a number alone may be a stranger's by now.
    """
    if sys.platform != "darwin" or not started or started.get("boot_id") != boot_id():
        return set()
    sid = started.get("sid")
    if not isinstance(sid, int):
        return set()
    return {sid} if process_started(sid) in (None, started.get("command_started")) else set()


def _signal(found: Found, number: signal.Signals) -> None:
    """Signal whole groups at once where all members belong (no fork slips through), else one by one."""
    for members in _groups(found):
        whole = all(one.pid in found.pids or one.zombie for one in members)
        if whole and any(_signal_one(one, number, group=True) for one in members):
            continue
        for one in members:
            if one.pid in found.pids:
                _signal_one(one, number)


def _groups(found: Found) -> list[list[Process]]:
    """Return the process groups, whole, that somebody who belongs is in."""
    groups: dict[int, list[Process]] = {found.table[pid].pgid: [] for pid in found.pids}
    for one in found.table.values():
        if one.pgid in groups:
            groups[one.pgid].append(one)
    return list(groups.values())


def _signal_one(one: Process, number: signal.Signals, *, group: bool = False) -> bool:
    """Signal exactly the process that was seen, or its group; False when it is gone or out of our reach."""
    if one.zombie and not group:
        return False
    return send(one.pid, started_of(one), number, pgid=one.pgid if group else None)


def send(pid: int, started: float | None, number: signal.Signals, *, pgid: int | None = None) -> bool:
    """Signal (pid, start time), or the group it is in; a pidfd keeps the pid from being recycled meanwhile."""
    fd = -1
    try:
        if sys.platform == "linux":
            fd = os.pidfd_open(pid)
        if started is None or process_started(pid) != started:
            return False
        if pgid is not None:
            os.killpg(pgid, number)
        elif sys.platform == "linux":
            signal.pidfd_send_signal(fd, number)
        else:
            os.kill(pid, number)
    except OSError:
        return False
    finally:
        if fd >= 0:
            os.close(fd)
    return True
