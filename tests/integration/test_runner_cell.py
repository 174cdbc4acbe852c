"""Limits of memory that are a wall: the kernel holds the tree to it, and what it did is told (promise G4)."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from uuid import uuid4

import pytest
from attempts import Rig
from waiting import eventually

from infra_tasks.runner import cell
from infra_tasks.runner.tree import kill_leftovers, kill_shim

MIB = 1024**2

HOLD = """
held = []
def hold(mib):
    held.append(b"x" * (mib * 1024 * 1024))
"""


@pytest.fixture
def rig(tmp_path):
    with Rig(tmp_path) as rig:
        yield rig


@pytest.fixture
def home():
    """Where cells are made here."""
    found = cell._home()
    if found is None:
        pytest.skip("no cgroup with a memory controller can be made here")
    return found


def cells(home):
    return [one.name for one in Path(home.parent).glob(f"{cell.NAME}*")]


def test_who_takes_too_much_at_once_is_ended_before_it_has_it(rig, home):
    program = HOLD + "hold(400); here()"
    attempt, record = rig.run(rig.program(program), memory_bytes=100 * MIB)
    assert (record["outcome"], record["signal"], record["survivors"]) == ("memory", signal.SIGKILL, 0)
    assert "more than the 100.0 MiB of memory allowed" in record["error"]
    assert not rig.seen()
    assert f"{cell.NAME}{attempt.record()['cookie']}" not in cells(home)


def test_a_child_ended_at_the_wall_ends_the_whole_tree(rig, home):
    program = HOLD + "here()\nif daemon(): hold(400)\nlast()"
    _, record = rig.run(rig.program(program), memory_bytes=100 * MIB)
    assert (record["outcome"], record["survivors"]) == ("memory", 0)


def test_a_command_that_outlives_its_child_at_the_wall_has_failed_all_the_same(rig, home):
    program = HOLD + "pid = os.fork()\nif not pid: hold(400)\nos.waitpid(pid, 0)"
    _, record = rig.run(rig.program(program), memory_bytes=100 * MIB)
    assert record["outcome"] == "memory"


def test_below_the_wall_nothing_is_noticed(rig, home):
    _, record = rig.run(rig.program(HOLD + "hold(50)"), memory_bytes=150 * MIB)
    assert (record["outcome"], record["exit_code"], record["error"]) == ("exited", 0, None)


def test_the_shim_itself_is_outside_of_the_wall(rig, home):
    attempt, shim = rig.start(rig.program("here(); last()"), memory_bytes=100 * MIB)
    eventually(rig.seen, 30, "it runs")
    members = Path(home.parent, f"{cell.NAME}{attempt.record()['cookie']}", cell.MEMBERS).read_text().split()
    assert list(map(int, members)) == rig.seen()
    assert attempt.started()["shim_pid"] not in map(int, members)
    attempt.order(kill=True)
    assert rig.ended(attempt, shim)["outcome"] == "cancelled"


def test_whoever_buries_an_attempt_takes_its_cell_away(rig, home):
    attempt, shim = rig.start(rig.program("here(); last()"), memory_bytes=100 * MIB)
    eventually(rig.seen, 30, "it runs")
    cookie = attempt.record()["cookie"]
    kill_shim(attempt.started())
    assert shim.wait(180)
    assert kill_leftovers(attempt.started(), cookie, attempt.record()["mark"], grace_s=0) == 0
    assert f"{cell.NAME}{cookie}" in cells(home)
    eventually(lambda: cell.remove(cookie) or f"{cell.NAME}{cookie}" not in cells(home), 30, "it is gone")


def test_without_a_home_there_is_no_cell(monkeypatch):
    monkeypatch.setattr(cell, "_home", lambda: None)
    assert cell.make("cookie") is None
    cell.remove("cookie")


HOLDS_MORE = """
import sys
from infra_tasks.runner import cell
made = cell.make(sys.argv[1])
made.enter()
held = bytearray(64 * 1024 * 1024)
made.leave(8 * 1024 * 1024)
print(len(held), made.kills())
"""


def test_whoever_starts_the_command_is_never_behind_its_wall_however_late_it_leaves(home):
    cookie = uuid4().hex
    said = subprocess.run([sys.executable, "-c", HOLDS_MORE, cookie], capture_output=True, text=True, check=False)
    eventually(lambda: cell.remove(cookie) or f"{cell.NAME}{cookie}" not in cells(home), 30, "it is gone")
    assert (said.returncode, said.stdout) == (0, f"{64 * MIB} 0\n"), said.stderr


def test_a_mount_may_be_called_anything(tmp_path):
    """Nothing of it may keep a shim from its exit record, or a watcher from its roles."""
    strange = tmp_path / os.fsdecode(b"caf\xe9")
    strange.mkdir()
    mounted = subprocess.run(["unshare", "-m", "mount", "-t", "tmpfs", "x", strange], capture_output=True, check=False)
    if mounted.returncode:
        pytest.skip("nothing can be mounted here")
    looks = "from infra_tasks.runner import cell; cell.make_room(); cell.remove('cookie'); print('found')"
    script = 'mount -t tmpfs x "$1" && exec "$2" -c "$3"'
    said = subprocess.run(
        ["unshare", "-m", "sh", "-c", script, "sh", strange, sys.executable, looks], capture_output=True, check=False
    )
    assert said.stdout == b"found\n", said.stderr


MOVES = "from infra_tasks.runner.cell import make_room; make_room(); print(open('/proc/self/cgroup').read())"


@pytest.mark.parametrize(("unit", "makes_room"), [("scope", True), ("service", False)])
def test_the_watcher_makes_room_in_a_group_that_was_handed_to_it_and_is_started_in_by_nobody(unit, makes_room):
    own = cell.place(Path("/proc/self/mountinfo").read_text(), "cgroup2", "", "/")
    if own is None or os.geteuid() != 0 or not os.access(own, os.W_OK):
        pytest.skip("no cgroup of version 2 can be made here")
    handed = Path(own, f"infra-test-{os.getpid()}.{unit}")
    handed.mkdir()
    try:
        os.setxattr(handed, "trusted.delegate", b"1")
        enter = f"import os; open('{handed}/cgroup.procs', 'w').write('0')\n"
        said = subprocess.run([sys.executable, "-c", enter + MOVES], capture_output=True, text=True, check=True)
        assert (f"0::/{handed.name}/{cell.ROLES}\n" in said.stdout) == makes_room
        os.setxattr(handed, "trusted.delegate", b"0")
        said = subprocess.run([sys.executable, "-c", enter + MOVES], capture_output=True, text=True, check=True)
        assert f"0::/{handed.name}\n" in said.stdout
    finally:
        for folder in (handed / cell.ROLES, handed):
            eventually(lambda folder=folder: cell._remove(str(folder)) or not folder.exists(), 30, "it is gone")
