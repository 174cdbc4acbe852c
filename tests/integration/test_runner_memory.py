"""Limits of memory that are looked at: the tree that holds too much is ended whole, and nobody else (promise G4)."""

from __future__ import annotations

import signal
import sys

import pytest
from attempts import Rig

MIB = 1024**2

HOLD = """
held = []
def hold(mib):
    held.append(b"x" * (mib * 1024 * 1024))
"""

only_linux = pytest.mark.skipif(sys.platform != "linux", reason="macOS does not say what processes share")


@pytest.fixture
def rig(tmp_path):
    with Rig(tmp_path) as rig:
        yield rig


def none_is_left(rig, attempt):
    """The shim itself carries the mark until its last moment, which comes after its word."""
    shim = attempt.started()["shim_pid"]
    assert not [pid for pid in rig.alive(attempt) if pid != shim]


def test_a_process_that_holds_too_much_is_ended_and_told_how_much_it_was(rig):
    _, record = rig.run(rig.program(HOLD + "hold(90); last()"), wall=False, memory_bytes=60 * MIB)
    assert (record["outcome"], record["signal"], record["survivors"]) == ("memory", signal.SIGTERM, 0)
    assert "allowed are 60.0 MiB" in record["error"]
    assert record["max_rss_bytes"] > 60 * MIB  # it may be seen before it holds all it wants


def test_many_small_processes_count_together_and_none_survives(rig):
    program = HOLD + "for _ in range(4):\n    if not os.fork(): hold(25); last()\nlast()"
    attempt, record = rig.run(rig.program(program), wall=False, memory_bytes=80 * MIB)
    assert (record["outcome"], record["survivors"]) == ("memory", 0)
    none_is_left(rig, attempt)


def test_who_left_the_session_with_its_memory_counts_too(rig):
    attempt, record = rig.run(rig.program(HOLD + "if daemon(): hold(90)\nlast()"), wall=False, memory_bytes=60 * MIB)
    assert (record["outcome"], record["survivors"]) == ("memory", 0)
    none_is_left(rig, attempt)


def test_who_is_deaf_to_the_request_is_killed_when_grace_is_over(rig):
    attempt, record = rig.run(
        rig.program(HOLD + "deaf(); hold(90); last()"), wall=False, memory_bytes=60 * MIB, grace_s=0.5
    )
    assert (record["outcome"], record["signal"], record["survivors"]) == ("memory", signal.SIGKILL, 0)
    none_is_left(rig, attempt)


def test_just_below_the_limit_a_command_is_left_alone(rig):
    program = HOLD + "hold(50); here(); time.sleep(2.5)"
    _, record = rig.run(rig.program(program), wall=False, memory_bytes=75 * MIB)
    assert (record["outcome"], record["exit_code"], record["error"]) == ("exited", 0, None)
    assert 50 * MIB < record["max_rss_bytes"] <= 75 * MIB


@only_linux
def test_memory_that_processes_share_counts_once(rig):
    program = HOLD + "hold(60)\nfor _ in range(4):\n    if not os.fork(): last()\nhere(); time.sleep(2.5)"
    _, record = rig.run(rig.program(program), wall=False, memory_bytes=110 * MIB)
    assert (record["outcome"], record["exit_code"]) == ("exited", 0)


ONE_IMAGE = """
import ctypes
CLONE_VM = 0x100
libc, stack = ctypes.CDLL(None), ctypes.create_string_buffer(1 << 20)
top = ctypes.c_void_p((ctypes.addressof(stack) + len(stack)) & ~15)
assert libc.clone(libc.sleep, top, CLONE_VM | signal.SIGCHLD, ctypes.c_void_p(3)) > 0
time.sleep(2)
"""


@only_linux
def test_a_child_that_has_not_left_its_parents_image_yet_counts_nothing(rig):
    _, record = rig.run(rig.program(HOLD + "hold(60); here()" + ONE_IMAGE), wall=False, memory_bytes=100 * MIB)
    assert (record["outcome"], record["exit_code"]) == ("exited", 0)
