"""Kill-tree torture: nothing of an attempt outlives its limit, and nobody else is touched (promise G4)."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from shutil import which

import psutil
import pytest
from attempts import Rig, end, is_alive
from waiting import eventually

from infra_tasks.runner import tree

TORTURE = {
    "ignores SIGTERM": (1, "deaf(); last()"),
    "setsid and double fork": (2, "deaf(); daemon(); last()"),
    "the same with cleared environment": (
        2,
        """
deaf()
tell = "import os, sys, time; open(f'{sys.argv[1]}/{os.getpid()}', 'w').close(); time.sleep(600)"
if daemon():
    os.execve(sys.executable, ["python", "-I", "-S", "-c", tell, sys.argv[1]], {})
last()
""",
    ),
    "200 children": (
        201,
        """
deaf()
for _ in range(200):
    if not os.fork():
        last()
last()
""",
    ),
    "a stopped child": (
        2,
        """
if not os.fork():
    here()
    os.kill(os.getpid(), signal.SIGSTOP)
last()
""",
    ),
    "a fork bomb that respawns": (
        400,
        """
deaf()
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
here()
for number in range(200):
    if not os.fork():
        break
else:
    last()
while time.monotonic() < END:
    here()
    if number % 20 == 0:
        os.setsid() if os.getpgrp() != os.getpid() else None
    if os.fork():
        time.sleep(0.3)
        os._exit(0)
    time.sleep(0.3)
""",
    ),
    "holds the output pipe open": (2, "deaf(); os.fork(); print('held', flush=True); last()"),
}


@pytest.fixture
def rig(tmp_path):
    with Rig(tmp_path) as rig:
        yield rig


@pytest.mark.parametrize("name", TORTURE)
def test_nothing_is_left_when_the_limit_has_passed(rig, name):
    count, program = TORTURE[name]
    command = rig.program(program)
    innocent = rig.innocent(rig.program("last()"))
    attempt, shim = rig.start(command, timeout_s=600)
    rig.wait_for(count)
    attempt.order(timeout_s=0)
    record = rig.ended(attempt, shim)
    assert rig.alive(attempt) == []
    assert (record["outcome"], record["survivors"]) == ("timeout", 0)
    assert innocent.poll() is None


@pytest.mark.parametrize("name", TORTURE)
def test_nothing_is_left_when_the_shim_was_killed_and_the_agent_cleans_up(rig, name):
    count, program = TORTURE[name]
    command = rig.program(program)
    innocent = rig.innocent(rig.program("last()"))
    attempt, shim = rig.start(command, timeout_s=600)
    rig.wait_for(count)
    os.kill(shim.pid, signal.SIGKILL)
    assert shim.wait(180)
    assert rig.alive(attempt), "the test is worth nothing when they died by themselves"
    record = attempt.record()
    assert tree.kill_leftovers(attempt.started(), record["cookie"], record["mark"], grace_s=0.3) == 0
    assert rig.alive(attempt) == []
    assert innocent.poll() is None
    assert attempt.exit_record() is None


def test_a_daemon_left_behind_by_a_command_that_exits_0_is_killed_and_the_result_stays_0(rig):
    program = rig.program("deaf()\nif daemon(): last()\nwhile not os.listdir(sys.argv[1]): time.sleep(0.01)")
    attempt, record = rig.run(program)
    assert len(rig.seen()) == 1
    assert rig.alive(attempt) == []
    assert (record["outcome"], record["exit_code"], record["survivors"]) == ("exited", 0, 0)


def test_whoever_is_left_behind_hears_sigterm_first_and_may_clean_up_within_grace(rig):
    program = rig.program(
        """
if os.fork():
    while not os.listdir(sys.argv[1]): time.sleep(0.01)
    os._exit(7)
def clean_up(*_):
    print("cleaned up", flush=True)
    os._exit(0)
signal.signal(signal.SIGTERM, clean_up)
last()
""",
    )
    attempt, record = rig.run(program, grace_s=300)
    assert (attempt.folder / "stdout.00000000000000000000").read_bytes() == b"cleaned up\n"
    assert record["exit_code"] == 7
    assert record["duration_s"] < 110


def test_a_stopped_command_is_woken_to_hear_sigterm(rig):
    program = """
signal.signal(signal.SIGTERM, lambda *_: os._exit(9))
here()
os.kill(os.getpid(), signal.SIGSTOP)
last()
"""
    attempt, shim = rig.start(rig.program(program), grace_s=600)
    (pid,) = rig.wait_for(1)
    eventually(lambda: psutil.Process(pid).status() == psutil.STATUS_STOPPED, 20, "it is stopped")
    attempt.order(stop="cancel")
    assert rig.ended(attempt, shim)["exit_code"] == 9


def test_sigterm_is_heard_exactly_once(rig):
    program = rig.program(
        """
heard = []
signal.signal(signal.SIGTERM, lambda *_: heard.append(1))
here()
deadline = time.monotonic() + 1
while time.monotonic() < deadline: time.sleep(0.05)
while not heard: time.sleep(0.05)
time.sleep(0.5)
print(len(heard), flush=True)
""",
    )
    attempt, shim = rig.start(program, grace_s=30)
    rig.wait_for(1)
    attempt.order(stop="cancel")
    record = rig.ended(attempt, shim)
    assert (record["outcome"], record["exit_code"]) == ("cancelled", 0)
    assert (attempt.folder / "stdout.00000000000000000000").read_bytes() == b"1\n"


def test_a_stranger_who_holds_the_output_pipe_does_not_hold_the_shim(rig):
    program = rig.program("print('mine', flush=True); here(); time.sleep(600)")
    attempt, shim = rig.start(program)
    (pid,) = rig.wait_for(1)
    with Path(f"/proc/{pid}/fd/1").open("wb", buffering=0) as stranger:
        attempt.order(stop="cancel")
        rig.ended(attempt, shim)
        with pytest.raises(BrokenPipeError):
            stranger.write(b"nobody reads this")
    assert (attempt.folder / "stdout.00000000000000000000").read_bytes() == b"mine\n"


ROOT = Path(__file__).parents[2]
LAUNCHER = """
import os, sys
from pathlib import Path
from shutil import which
from infra_tasks.runner.attempt import Attempt
from infra_tasks.runner.launch import Zygote
attempt = Attempt(Path(sys.argv[1]))
zygote = Zygote()
shim = zygote.launch(attempt, attempt.take_lock())
print(zygote.pid, shim.pid, flush=True)
sys.stdin.read()
"""


def test_the_limit_holds_when_everybody_above_the_shim_was_killed(rig):
    attempt = rig.attempt(rig.program("deaf(); daemon(); last()"), timeout_s=12)
    argv = [sys.executable, "-c", LAUNCHER, str(attempt.folder)]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT) as launcher:
        zygote, shim = map(int, launcher.stdout.readline().split())
        rig.wait_for(2)
        os.kill(zygote, signal.SIGKILL)
        launcher.kill()
    assert is_alive(shim)
    assert attempt.is_locked()
    record = eventually(attempt.exit_record, 30, "the exit record")
    assert record["outcome"] == "timeout"
    assert 12 <= record["duration_s"] < 110
    assert set(rig.alive(attempt)) <= {shim}, "the shim carries the mark too, and may not have ended yet"
    eventually(lambda: not attempt.is_locked(), 10, "the lock is free")


def test_kill_leftovers_spares_a_stranger_whose_session_one_of_ours_sits_in(rig):
    """Somebody looks into a run with its cookie in his shell's environment: his shell is not the run."""
    record = rig.record([])
    program = """
pid = os.fork()
if not pid:
    tell = "import os, sys, time; open(f'{sys.argv[1]}/{os.getpid()}', 'w').close(); time.sleep(600)"
    os.execve(sys.executable, ["python", "-I", "-S", "-c", tell, sys.argv[1]],
              {"INFRA_COOKIE": sys.argv[2]})
open(f"{sys.argv[1]}/{os.getpid()}", "w").close()
os.waitpid(pid, 0)
time.sleep(600)
"""
    argv = [*rig.program(program), record["cookie"]]
    with subprocess.Popen(argv, start_new_session=True) as stranger:
        try:
            rig.wait_for(2)
            ours = next(pid for pid in rig.seen() if pid != stranger.pid)
            assert tree.kill_leftovers(None, record["cookie"], record["mark"], grace_s=0) == 0
            assert not is_alive(ours)
            assert stranger.poll() is None
        finally:
            stranger.kill()


def test_kill_leftovers_never_kills_its_caller(rig):
    program = "from infra_tasks.runner.tree import kill_leftovers; print(kill_leftovers(None, 'mine', 0, grace_s=0))"
    argv = [sys.executable, "-c", program]
    env = {**os.environ, "INFRA_COOKIE": "mine"}
    said = subprocess.run(argv, env=env, cwd=ROOT, check=True, capture_output=True, timeout=180).stdout
    assert said == b"0\n"


def test_kill_leftovers_of_nobody_is_quick_and_touches_nobody(rig):
    innocent = rig.innocent(rig.program("last()"))
    assert tree.kill_leftovers(None, "cookie-of-nobody", 0, grace_s=30) == 0
    assert innocent.poll() is None


def test_a_frozen_shim_is_killed_and_only_by_its_start_time(rig):
    attempt, shim = rig.start(rig.program("last()"))
    rig.wait_for(1)
    started = attempt.started()
    os.kill(shim.pid, signal.SIGSTOP)
    assert not tree.kill_shim({**started, "shim_started": started["shim_started"] - 1})
    assert not tree.kill_shim({**started, "boot_id": "another boot"})
    assert is_alive(shim.pid)
    assert tree.kill_shim(started)
    assert shim.wait(180)
    assert not attempt.is_locked()


@pytest.mark.skipif(os.geteuid() != 0 or not which("setpriv"), reason="takes root to make what may not be killed")
def test_what_cannot_be_killed_is_counted_and_the_shim_ends(rig):
    """A shim that may not kill other users (no CAP_KILL), and a command that became another user."""
    attempt = rig.attempt(rig.program("os.fork(); here(); os.setresuid(65534, 65534, 65534); time.sleep(600)"))
    argv = ["setpriv", "--bounding-set=-kill", sys.executable, "-c", LAUNCHER, str(attempt.folder)]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT) as launcher:
        try:
            rig.wait_for(2)
            attempt.order(kill=True)
            record = eventually(attempt.exit_record, 60, "the exit record")
        finally:
            for pid in rig.seen():
                end(pid)
            launcher.kill()
    assert (record["outcome"], record["survivors"]) == ("cancelled", 2)
