"""A watcher that can open nothing more lives on, renews nobody, and goes on with its work once it can."""

from __future__ import annotations

import os
import resource
import signal
import sys
from typing import TYPE_CHECKING

import pytest
from waiting import eventually

if TYPE_CHECKING:
    from whole_node import WholeNode

pytestmark = [
    pytest.mark.chaos,
    pytest.mark.skipif(sys.platform != "linux", reason="only Linux changes limits of a running process"),
]
OTHERS = ("redis", "control", "worker", "beat")


def take_descriptors(pid: int) -> tuple[int, int]:
    """Let a process open nothing any more; return what it was allowed before."""
    taken = {int(name) for name in os.listdir(f"/proc/{pid}/fd")}  # noqa: PTH208
    free = next(number for number in range(len(taken) + 1) if number not in taken)
    return resource.prlimit(pid, resource.RLIMIT_NOFILE, (free, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))


def test_a_watcher_without_descriptors_lives_and_later_brings_back_what_died_meanwhile(node: WholeNode):
    watcher, agent = node.watcher_pid(), node.role_pid("agent")
    others = {role: node.role_pid(role) for role in OTHERS}
    assert watcher is not None
    assert agent is not None
    log = node.home / "logs" / "watcher.log"
    told = len(log.read_text())
    before = take_descriptors(watcher)
    try:
        os.kill(agent, signal.SIGKILL)
        eventually(lambda: "Too many open files" in log.read_text()[told:], 60, "the watcher says what it lacks")
    finally:
        resource.prlimit(watcher, resource.RLIMIT_NOFILE, before)
    eventually(lambda: node.role_pid("agent") not in (None, agent), 60, "another agent lives")
    assert node.watcher_pid() == watcher
    assert {role: node.role_pid(role) for role in OTHERS} == others
