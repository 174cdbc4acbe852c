"""One attempt's life: start, limits, orders, exit record, lock (promises G3, G4, G6)."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from attempts import PYTHON, Rig, end, is_alive
from waiting import eventually

from infra_tasks.errors import LaunchFailed
from infra_tasks.runner import output
from infra_tasks.runner.attempt import Attempt
from infra_tasks.runner.clock import boot_clock, boot_id, process_started
from infra_tasks.runner.launch import Zygote

SLEEP = ["sleep", "600"]


@pytest.fixture
def rig(tmp_path):
    with Rig(tmp_path) as rig:
        yield rig


def until(file: Path) -> list[str]:
    """A command that goes on until there is a file."""
    return ["sh", "-c", f"until [ -e {file} ]; do sleep 0.05; done"]


def started_command(attempt: Attempt) -> int:
    """Wait for the command and return its pid."""
    return eventually(lambda: (attempt.started() or {}).get("command_pid"), 20, "the command")


def test_a_command_runs_and_its_exit_code_is_recorded(rig):
    before = time.time()
    attempt, record = rig.run(["sh", "-c", "echo out; echo err >&2; exit 3"])
    assert (record["outcome"], record["exit_code"], record["signal"], record["error"]) == ("exited", 3, None, None)
    wanted = attempt.record()
    assert [record[key] for key in ("run", "attempt", "claim")] == [wanted[key] for key in ("run", "attempt", "claim")]
    assert before - 1 <= record["started_at"] <= record["ended_at"] <= time.time() + 1
    assert record["boot_id"] == boot_id()
    assert output.tail(attempt.folder, "stdout", 100) == "out\n"
    assert output.tail(attempt.folder, "stderr", 100) == "err\n"


def test_death_by_a_signal_is_recorded_as_such(rig):
    _, record = rig.run(["sh", "-c", "kill -SEGV $$"])
    assert (record["outcome"], record["exit_code"], record["signal"]) == ("signaled", None, signal.SIGSEGV)


def test_time_and_memory_of_the_whole_tree_are_recorded(rig):
    program = """
import os, time
held = b"x" * 50_000_000
child = os.fork()
if not child:
    held += b"y" * 1
    deadline = time.process_time() + 0.3
    while time.process_time() < deadline: pass
    time.sleep(6)  # until it is looked at for the third time: what took long to get so far was not seen before
    os._exit(0)
os.waitpid(child, 0)
"""
    _, record = rig.run([*PYTHON, program])
    assert record["max_rss_bytes"] > 100_000_000, "two processes of 50 MB"
    assert record["cpu_s"] >= 0.3
    assert record["duration_s"] >= 6


def test_the_environment_is_exactly_that_of_the_record_and_the_cookie(rig):
    rig.zygote.close()
    attempt, _ = rig.run(["/usr/bin/env"], env={"ONLY": "this", "UMLAUT": "ä"})
    said = output.tail(attempt.folder, "stdout", 10_000)
    assert sorted(said.splitlines()) == sorted(["ONLY=this", "UMLAUT=ä", f"INFRA_COOKIE={attempt.record()['cookie']}"])


def test_the_command_has_only_fds_0_1_2_and_clean_signals_and_its_own_session(rig):
    program = """
import os, signal
fds = [fd for fd in map(int, os.listdir("/dev/fd")) if os.path.exists(f"/dev/fd/{fd}")]
print(sorted(fds), os.path.realpath("/dev/fd/0"), os.getsid(0) == os.getpid(), signal.pthread_sigmask(0, ()))
"""
    ignored = "grep SigIgn /proc/self/status" if sys.platform == "linux" else "echo"
    with Path(os.devnull).open() as stray:
        os.set_inheritable(stray.fileno(), True)
        attempt, _ = rig.run(["sh", "-c", f'{ignored}; exec "$0" "$@"', *PYTHON, program])
    lines = output.tail(attempt.folder, "stdout", 10_000).splitlines()
    assert lines[-1] == "[0, 1, 2] /dev/null True set()"
    if sys.platform == "linux":
        assert int(lines[0].split()[1], 16) & 0x7FFFFFFF == 0


def test_a_held_fd_is_held_until_the_shim_ends_and_the_command_never_sees_it(rig):
    read_end, write_end = os.pipe()
    attempt = rig.attempt(SLEEP)
    lock = attempt.take_lock()
    with rig.zygote.launch(attempt, lock, [write_end]) as shim:
        os.close(lock)
        os.close(write_end)
        command = started_command(attempt)
        rig.zygote.close()
        os.set_blocking(read_end, False)
        with pytest.raises(BlockingIOError):
            os.read(read_end, 1)
        os.kill(shim.pid, signal.SIGKILL)
        assert shim.wait(180)
        assert os.read(read_end, 1) == b""
        end(command)
    os.close(read_end)


def test_the_lock_is_held_while_the_shim_lives_and_free_when_it_ended(rig):
    attempt, shim = rig.start(SLEEP)
    command = started_command(attempt)
    assert attempt.is_locked()
    assert attempt.take_lock() is None
    os.kill(command, signal.SIGKILL)
    assert shim.wait(180)
    assert not attempt.is_locked()
    assert attempt.exit_record()["signal"] == signal.SIGKILL


def test_the_lock_is_free_when_a_killed_shim_is_seen_to_have_ended(rig):
    for _ in range(20):
        attempt, shim = rig.start(SLEEP)
        os.kill(shim.pid, signal.SIGKILL)
        assert shim.wait(180)
        assert not attempt.is_locked()


def test_started_says_who_runs(rig):
    attempt, shim = rig.start(SLEEP)
    command = started_command(attempt)
    started = attempt.started()
    assert started["shim_pid"] == shim.pid
    assert started["shim_started"] == process_started(shim.pid)
    assert started["command_started"] == process_started(command)
    assert os.getsid(command) == started["sid"] == command
    assert started["started_boot"] <= boot_clock()


@pytest.mark.parametrize(
    ("command", "changes", "said"),
    [
        (["no-such-program"], {}, "not on the PATH"),
        (["/no/such/program"], {}, "No such file"),
        ([__file__], {}, "Permission denied"),
        (["true"], {"cwd": "/no/such/folder"}, "working directory /no/such/folder"),
        (["true"], {"env": {"PATH": "/nowhere"}}, "not on the PATH"),
        (["/bin/echo", "a\0b"], {}, "null"),
        (["true"], {"env": None}, "cannot start"),
    ],
)
def test_a_command_that_cannot_start_says_why(rig, command, changes, said):
    _, record = rig.run(command, **changes)
    assert (record["outcome"], record["exit_code"], record["signal"]) == ("start_failed", None, None)
    assert said in record["error"]


def test_a_script_without_its_interpreter_says_so(rig, tmp_path):
    script = tmp_path / "script"
    script.write_text("#!/no/such/interpreter\n")
    script.chmod(0o755)
    assert "the program its first line names" in rig.run([str(script)])[1]["error"]
    script.write_text("echo hello\n")
    assert "#!/bin/sh" in rig.run([str(script)])[1]["error"]


def test_a_relative_program_is_looked_for_in_the_working_directory(rig, tmp_path):
    (tmp_path / "script").write_text("#!/bin/sh\npwd\n")
    (tmp_path / "script").chmod(0o755)
    attempt, record = rig.run(["./script"], cwd=str(tmp_path))
    assert record["exit_code"] == 0
    assert output.tail(attempt.folder, "stdout", 1000) == f"{tmp_path.resolve()}\n"


@pytest.mark.parametrize(("stop", "outcome"), [("cancel", "cancelled"), ("fenced", "fenced"), ("down", "down")])
def test_an_order_stops_a_running_command(rig, stop, outcome):
    attempt, shim = rig.start(SLEEP)
    started_command(attempt)
    attempt.order(stop=stop)
    record = rig.ended(attempt, shim)
    assert (record["outcome"], record["signal"]) == (outcome, signal.SIGTERM)


@pytest.mark.parametrize(("stop", "outcome"), [("cancel", "cancelled"), ("fenced", "fenced"), ("down", "down")])
def test_an_order_given_before_the_start_prevents_it(rig, tmp_path, stop, outcome):
    attempt = rig.attempt(["touch", str(tmp_path / "effect")])
    attempt.order(stop=stop)
    record = rig.ended(attempt, rig.launch(attempt))
    assert (record["outcome"], record["exit_code"], record["survivors"]) == (outcome, None, 0)
    assert not (tmp_path / "effect").exists()


def test_grace_lets_a_command_end_itself_and_kill_takes_it_away(rig):
    attempt, shim = rig.start(rig.program("deaf(); last()"), grace_s=600)
    rig.wait_for(1)
    attempt.order(stop="cancel")
    assert not shim.wait(1), "it is deaf, and grace is long"
    attempt.order(kill=True)
    record = rig.ended(attempt, shim)
    assert (record["outcome"], record["signal"]) == ("cancelled", signal.SIGKILL)


def test_the_limit_counts_from_the_start_and_grace_ends_in_sigkill(rig):
    _, record = rig.run(rig.program("deaf(); last()"), timeout_s=5, grace_s=0.5)
    assert (record["outcome"], record["signal"]) == ("timeout", signal.SIGKILL)
    assert 5.5 <= record["duration_s"] < 100


def test_an_extended_limit_holds_instead_of_the_old_one(rig):
    attempt, shim = rig.start(SLEEP, timeout_s=8)
    started_command(attempt)
    attempt.order(timeout_s=600)
    assert not shim.wait(9)
    attempt.order(timeout_s=1)
    assert rig.ended(attempt, shim)["outcome"] == "timeout"


def test_at_the_stop_moment_the_tree_is_stopped_and_at_its_grace_it_is_gone(rig):
    rig.run(["true"])  # what starts shims is there
    stop_at = boot_clock() + 5
    _, record = rig.run(rig.program("deaf(); last()"), stop_at=stop_at, grace_s=0.5)
    ended = boot_clock()
    assert (record["outcome"], record["signal"]) == ("lease", signal.SIGKILL)
    assert ended >= stop_at + 0.5


def test_a_stop_moment_that_has_passed_prevents_the_start_and_a_renewed_one_lets_go_on(rig):
    assert rig.run(["true"], stop_at=boot_clock() - 1)[1]["outcome"] == "lease"
    attempt, shim = rig.start(["sleep", "7"], stop_at=boot_clock() + 6)
    started_command(attempt)
    attempt.order(stop_at=boot_clock() + 600)
    assert rig.ended(attempt, shim)["exit_code"] == 0


def test_damaged_orders_change_nothing(rig, tmp_path):
    attempt, shim = rig.start(until(tmp_path / "go"))
    started_command(attempt)
    (attempt.folder / "orders.json").write_text('{"stop": "maybe", "timeout_s": "soon", "stop_at": [], "kill": 1}')
    assert not shim.wait(0.4)
    (attempt.folder / "orders.json").write_text("{cut o")
    assert not shim.wait(0.4)
    (tmp_path / "go").touch()
    assert rig.ended(attempt, shim)["exit_code"] == 0


def test_a_buried_attempt_never_starts(rig, tmp_path):
    attempt = rig.attempt(["touch", str(tmp_path / "effect")])
    attempt.bury("the node was rebooted")
    assert rig.launch(attempt).wait(180)
    assert not (tmp_path / "effect").exists()
    assert attempt.exit_record() is None
    assert attempt.started() is None


def test_a_second_shim_of_an_attempt_leaves_without_a_trace(rig, tmp_path):
    attempt, record = rig.run(["sh", "-c", f"echo once >> {tmp_path}/effect"])
    assert rig.launch(attempt).wait(180)
    assert (tmp_path / "effect").read_text() == "once\n"
    assert attempt.exit_record() == record


def test_stray_signals_do_not_stop_a_shim(rig, tmp_path):
    attempt, shim = rig.start(until(tmp_path / "go"))
    started_command(attempt)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
        os.kill(shim.pid, number)
    assert not shim.wait(0.4)
    (tmp_path / "go").touch()
    assert rig.ended(attempt, shim)["exit_code"] == 0


def test_a_shim_without_a_record_starts_nothing_and_says_why(rig):
    attempt = Attempt(rig.folder / "empty")
    lock = attempt.take_lock()
    with rig.zygote.launch(attempt, lock) as shim:
        os.close(lock)
        assert shim.wait(180)
    assert "record.json is missing" in (attempt.folder / "shim.log").read_text()
    assert attempt.exit_record() is None


def test_a_shim_is_idle_while_its_command_is(rig):
    attempt, shim = rig.start(SLEEP)
    started_command(attempt)
    me = psutil.Process(shim.pid)
    before, woke, began = me.cpu_times(), me.num_ctx_switches().voluntary, time.monotonic()
    assert not shim.wait(3)
    after, took_s = me.cpu_times(), time.monotonic() - began
    assert after.user + after.system - before.user - before.system <= 0.5
    assert me.num_ctx_switches().voluntary - woke <= 20 * (took_s + 1), "it looks at its orders five times a second"


def test_a_killed_zygote_is_replaced_and_its_shims_go_on(rig):
    first, first_shim = rig.start(["sleep", "1.5"])
    zygote = rig.zygote.pid
    end_of = psutil.Process(zygote)
    end_of.kill()
    second, second_shim = rig.start(["true"])
    assert rig.zygote.pid != zygote
    assert rig.ended(second, second_shim)["exit_code"] == 0
    assert rig.ended(first, first_shim)["exit_code"] == 0


def test_a_frozen_zygote_is_replaced_and_nothing_starts_twice(rig, tmp_path):
    rig.run(["true"])
    rig.zygote._answer_within_s = 5
    frozen = rig.zygote.pid
    os.kill(frozen, signal.SIGSTOP)
    _, record = rig.run(["sh", "-c", f"echo once >> {tmp_path}/effect"])
    assert record["exit_code"] == 0
    assert (tmp_path / "effect").read_text() == "once\n"
    assert not is_alive(frozen)


def test_a_zygote_that_cannot_live_is_an_error_that_says_so(rig, monkeypatch):
    attempt = rig.attempt(["true"])
    lock = attempt.take_lock()
    monkeypatch.setattr(sys, "executable", "/bin/false")
    zygote = Zygote()
    with pytest.raises(LaunchFailed, match="nothing was started"):
        zygote.launch(attempt, lock)
    os.close(lock)
    zygote.close()
    assert not attempt.is_locked()


FORKS = """
import os, sys
from pathlib import Path
from infra_tasks.runner.attempt import Attempt
from infra_tasks.runner.launch import Zygote
zygote = Zygote()
def once(name):
    attempt = Attempt(Path(sys.argv[1]) / name)
    lock = attempt.take_lock()
    attempt.write_record({**Attempt(Path(sys.argv[1])).record(), "run": name})
    with zygote.launch(attempt, lock) as shim:
        os.close(lock)
        assert shim.wait(180)
    return zygote.pid
before = once("parent")
if not os.fork():
    child = once("child")
    zygote.close()
    os._exit(child == before)
_, status = os.wait()
assert status == 0 and once("again") == before
zygote.close()
"""


def test_every_process_has_its_own_zygote_after_a_fork(rig):
    attempt = rig.attempt(["true"])
    subprocess.run([sys.executable, "-c", FORKS, str(attempt.folder)], check=True, timeout=180)
    for name in ("parent", "child", "again"):
        assert Attempt(attempt.folder / name).exit_record()["exit_code"] == 0


def test_a_zygote_ends_with_its_parent(rig):
    program = "import sys; from infra_tasks.runner.launch import Zygote; z = Zygote(); z.warm(); print(z.pid)"
    said = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, timeout=180).stdout
    eventually(lambda: not is_alive(int(said)), 20, "the zygote is gone")
