"""A watcher in a process of its own, with tiny stand-in roles; killed, stopped and frozen for real."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from cli_process import at_a_terminal
from waiting import eventually

from infra_tasks.errors import AlreadyRunning, RoleFailed
from infra_tasks.settings import Home
from workers import lock
from workers.detach import detach
from workers.down import down, watcher_of

if TYPE_CHECKING:
    from collections.abc import Callable

REPO = Path(__file__).resolve().parents[2]
SCRIPT = """
import json, logging, os, sys
from pathlib import Path
from infra_tasks.settings import home
from workers.policy import Patience
from workers.roles import RolePlan
from workers.watcher import Watcher

def plans():
    said = json.loads((home().root / "plans.json").read_text())
    return tuple(
        RolePlan(
            name=name, argv=(sys.executable, *more["argv"]), env=tuple(more.get("env", {}).items()),
            patience=Patience(**more.get("patience", {})), ready_s=more.get("ready_s", 15),
            uses_redis=more.get("uses_redis", False),
        )
        for name, more in said.items()
    )

logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
sys.exit(Watcher(home(), plans).run())
"""
ROLE = """
import os, sys, time
from pathlib import Path
from workers.role import enter

pulse = enter(sys.argv[1])
with open(Path(os.environ["INFRA_HOME"], "starts"), "a") as starts:
    starts.write(f"{sys.argv[1]} {os.getpid()}\\n")
if "child" in sys.argv:
    child = os.fork()
    if child == 0:
        time.sleep(600)
    Path(os.environ["INFRA_HOME"], "child").write_text(str(child))
while True:
    pulse.beat()
    time.sleep(0.05)
"""
DIES = """
import os, sys
with open(os.path.join(os.environ["INFRA_HOME"], "tries"), "a") as tries:
    tries.write("x")
sys.exit("no such luck")
"""


class Rig:
    """One node's folder, its watcher and everything that ever started in it."""

    def __init__(self, root: Path) -> None:
        self.home = Home(root / "home")
        self.home.root.mkdir()
        self.watcher: subprocess.Popen[bytes] | None = None
        self.script = root / "watcher.py"
        self.script.write_text(SCRIPT)
        self.role_script = root / "role.py"
        self.role_script.write_text(ROLE)

    def plan(self, *names: str, **changed: dict[str, object]) -> None:
        plans = {name: {"argv": [str(self.role_script), name], **changed.get(name, {})} for name in names}
        beside = self.home.root / "plans.new"
        beside.write_text(json.dumps(plans))
        beside.replace(self.home.root / "plans.json")

    @property
    def env(self) -> dict[str, str]:
        return {**os.environ, "INFRA_HOME": str(self.home.root), "PYTHONPATH": str(REPO)}

    def watch(self, start: Callable[..., Any] = subprocess.Popen, **more: object) -> subprocess.Popen[bytes]:
        with (self.home.root / "said").open("ab") as said:
            self.watcher = start(
                [sys.executable, self.script], **{"env": self.env, "stdout": said, "stderr": said, **more}
            )
        return self.watcher

    def said(self) -> str:
        return (self.home.root / "said").read_text()

    def status(self, name: str) -> dict[str, object]:
        try:
            return json.loads((self.home.roles / f"{name}.json").read_text())
        except FileNotFoundError:
            return {}

    def running(self, name: str, but: int = 0) -> int:
        """The pid of a role that is ready, and is not `but`."""

        def look() -> int:
            said = self.status(name)
            pid = int(said.get("pid") or 0)
            return pid if said.get("state") == "running" and pid != but else 0

        return eventually(look, 30, f"{name} runs (but not as {but}):\n{self.said()}")

    def starts(self) -> list[str]:
        with suppress(FileNotFoundError):
            return [line.split()[0] for line in (self.home.root / "starts").read_text().splitlines()]
        return []

    def pids(self) -> list[int]:
        with suppress(FileNotFoundError):
            return [int(line.split()[1]) for line in (self.home.root / "starts").read_text().splitlines()]
        return []

    def ended(self) -> int:
        assert self.watcher
        return self.watcher.wait(180)

    def clean(self) -> None:
        if self.watcher and self.watcher.poll() is None:
            self.watcher.kill()
            self.watcher.wait()
        watcher = watcher_of(self.home)
        if watcher:
            os.kill(watcher.pid, signal.SIGKILL)
        for path in self.home.roles.glob("*.lock"):
            holder = lock.holder(path)
            if holder and holder.lives:
                with suppress(ProcessLookupError):
                    os.killpg(holder.pid, signal.SIGKILL)


@pytest.fixture
def rig(tmp_path: Path):
    made = Rig(tmp_path)
    try:
        yield made
    finally:
        made.clean()


def alive(pid: int) -> bool:
    """Whether a process is there and no zombie; an adopted one's corpse may lie around where nobody reaps."""
    with suppress(FileNotFoundError, ProcessLookupError):
        if sys.platform == "linux":
            return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
        os.kill(pid, 0)
        return True
    return False


def gone(pid: int) -> None:
    eventually(lambda: not alive(pid), 20, f"{pid} is gone")


def test_roles_start_in_order_and_each_waits_for_the_one_before(rig: Rig):
    rig.plan("one", "two", "three")
    rig.watch()
    rig.running("three")
    assert rig.starts() == ["one", "two", "three"]
    said = rig.said()
    assert said.index("one: ready") < said.index("two: started") < said.index("two: ready") < said.index("three: st")


def test_a_broken_role_does_not_hold_up_the_ones_after_it_nor_is_it_tried_in_a_tight_loop(rig: Rig):
    broken = rig.home.root / "dies.py"
    broken.write_text(DIES)
    rig.plan("broken", "good", broken={"argv": [str(broken)], "ready_s": 1})
    began = time.monotonic()
    rig.watch()
    rig.running("good")
    tries = rig.home.root / "tries"
    eventually(lambda: tries.exists() and len(tries.read_text()) >= 4, 30, "it is tried again and again")
    # 0.1 + 1 + 2 s at least 3/4 of it lie between the first and the fourth try; a tight loop would make hundreds.
    assert len(tries.read_text()) <= 3 + (time.monotonic() - began)
    eventually(lambda: rig.status("broken")["restarts"] >= 3, said="that is told")
    assert "no such luck" in (rig.home.logs / "broken.log").read_text()
    assert "no such luck" in rig.said()


def test_a_killed_role_comes_back_within_a_second_with_another_pid(rig: Rig):
    rig.plan("one", "two")
    rig.watch()
    one, two = rig.running("one"), rig.running("two")
    os.kill(one, signal.SIGKILL)
    again = rig.running("one", but=one)
    assert rig.running("two") == two
    assert rig.status("one")["restarts"] == 1
    died = next(line for line in rig.said().splitlines() if f"one: pid {one} died" in line)
    assert "next try in 0.1 s" in died
    assert f"one: started, pid {again}" in rig.said()


def test_the_children_a_killed_role_left_are_gone_before_it_starts_again(rig: Rig):
    rig.plan("one", one={"argv": [str(rig.role_script), "one", "child"]})
    rig.watch()
    one = rig.running("one")
    child = int((rig.home.root / "child").read_text())
    os.kill(one, signal.SIGKILL)
    rig.running("one", but=one)
    assert not alive(child)


def test_a_frozen_role_is_silent_and_replaced(rig: Rig):
    rig.plan("one", one={"patience": {"silence_s": 2, "stop_s": 1}})
    rig.watch()
    one = rig.running("one")
    os.kill(one, signal.SIGSTOP)
    rig.running("one", but=one)
    gone(one)
    assert f"pid {one} is silent" in rig.said()


def test_roles_that_slept_together_with_their_watcher_are_not_called_silent(rig: Rig):
    rig.plan("one", one={"patience": {"silence_s": 6, "stop_s": 1}})
    watcher = rig.watch()
    one = rig.running("one")
    for pid in (watcher.pid, one):
        os.kill(pid, signal.SIGSTOP)
    asleep_until = time.monotonic() + 8
    eventually(lambda: time.monotonic() > asleep_until, said="eight seconds are over")
    os.kill(watcher.pid, signal.SIGCONT)
    eventually(lambda: "did not run for" in rig.said(), said="the watcher notices its own gap")
    os.kill(one, signal.SIGCONT)
    os.kill(one, signal.SIGUSR1)
    assert rig.running("one", but=one)
    assert "is silent" not in rig.said()


def test_a_second_watcher_of_the_same_folder_is_refused_by_pid(rig: Rig):
    rig.plan("one")
    first = rig.watch()
    one = rig.running("one")
    second = subprocess.run([sys.executable, rig.script], env=rig.env, capture_output=True, text=True, check=False)
    assert second.returncode == 1
    assert f"a watcher already runs for {rig.home.root}: pid {first.pid}" in second.stderr
    assert rig.running("one") == one


def test_a_new_watcher_adopts_the_living_roles_of_a_killed_one_and_minds_them(rig: Rig):
    rig.plan("one", "two", two={"patience": {"silence_s": 6, "stop_s": 1}})
    first = rig.watch()
    one, two = rig.running("one"), rig.running("two")
    first.kill()
    first.wait()
    assert alive(one)
    assert alive(two)
    rig.watch()
    eventually(lambda: "two: adopted" in rig.said(), said="it adopts")
    assert (rig.running("one"), rig.running("two")) == (one, two)
    assert rig.starts() == ["one", "two"]
    os.kill(one, signal.SIGKILL)
    rig.running("one", but=one)
    os.kill(two, signal.SIGSTOP)
    rig.running("two", but=two)
    gone(two)
    assert rig.starts() == ["one", "two", "one", "two"]
    assert f"one: pid {one} died" in rig.said()
    assert f"two: pid {two} is silent" in rig.said()


def test_a_new_watcher_stops_adopted_roles_in_order(rig: Rig):
    rig.plan("one", "two")
    first = rig.watch()
    one, two = rig.running("one"), rig.running("two")
    first.kill()
    first.wait()
    again = rig.watch()
    eventually(lambda: "two: adopted" in rig.said(), said="it adopts")
    again.send_signal(signal.SIGTERM)
    assert rig.ended() == 0
    gone(one)
    gone(two)


def test_a_role_that_no_plan_names_any_more_is_stopped_by_the_next_watcher(rig: Rig):
    rig.plan("one", "old")
    first = rig.watch()
    one, old = rig.running("one"), rig.running("old")
    first.kill()
    first.wait()
    rig.plan("one")
    rig.watch()
    gone(old)
    assert rig.running("one") == one


def test_sigterm_stops_the_roles_in_reverse_order_and_leaves_nothing_but_the_commands(rig: Rig):
    rig.plan("one", "two", "three")
    rig.home.live.mkdir()
    (rig.home.live / "run@1").touch()
    rig.watch()
    pids = [rig.running(name) for name in ("one", "two", "three")]
    rig.watcher.send_signal(signal.SIGTERM)
    assert rig.ended() == 0
    assert not any(alive(pid) for pid in pids)
    said = rig.said()
    assert said.index("three: stopped") < said.index("two: stopped") < said.index("one: stopped")
    assert "ending commands" not in said
    assert watcher_of(rig.home) is None


def test_a_role_that_ignores_its_stop_signal_is_killed_with_its_children(rig: Rig):
    deaf = rig.home.root / "deaf.py"
    deaf.write_text("import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + ROLE)
    rig.plan("one", one={"argv": [str(deaf), "one", "child"], "patience": {"stop_s": 0.5}})
    rig.watch()
    one = rig.running("one")
    rig.watcher.send_signal(signal.SIGTERM)
    assert rig.ended() == 0
    assert not alive(one)
    assert not alive(int((rig.home.root / "child").read_text()))


def test_sigint_asks_for_the_end_of_the_commands_and_waits_for_it_before_it_stops_the_roles(rig: Rig):
    rig.plan("one")
    rig.home.live.mkdir()
    running = rig.home.live / "run@1"
    running.touch()
    rig.watch()
    one = rig.running("one")
    wish = rig.home.root / "stopping.json"
    assert not wish.exists()
    rig.watcher.send_signal(signal.SIGINT)
    eventually(lambda: wish.exists() and json.loads(wish.read_text()) == {"kill": True}, said="it asks")
    os.kill(one, signal.SIGKILL)
    one = rig.running("one", but=one)
    running.unlink()
    assert rig.ended() == 0
    assert not alive(one)
    assert not wish.exists()


def test_a_second_sigint_does_not_wait_for_the_commands(rig: Rig):
    rig.plan("one")
    rig.home.live.mkdir()
    (rig.home.live / "run@1").touch()
    rig.watch()
    rig.running("one")
    rig.watcher.send_signal(signal.SIGINT)
    eventually(lambda: "ending commands" in rig.said(), said="the first is heard")
    rig.watcher.send_signal(signal.SIGINT)
    assert rig.ended() == 0


def test_ctrl_c_in_a_terminal_reaches_only_the_watcher_which_leaves_nothing(rig: Rig):
    rig.plan("one", "two")
    leader, follower = pty.openpty()
    rig.watch(at_a_terminal, terminal=follower)
    one, two = rig.running("one"), rig.running("two")
    os.write(leader, b"\x03")
    assert rig.ended() == 0
    os.close(leader)
    os.close(follower)
    assert not alive(one)
    assert not alive(two)
    assert "died" not in rig.said()


def test_a_hangup_is_ignored(rig: Rig):
    rig.plan("one")
    rig.watch()
    one = rig.running("one")
    rig.watcher.send_signal(signal.SIGHUP)
    os.kill(one, signal.SIGKILL)
    rig.running("one", but=one)
    assert rig.watcher.poll() is None


def test_a_changed_plan_renews_the_roles_it_concerns_and_leaves_the_others_alone(rig: Rig):
    rig.plan("one", "two", "three", "four")
    rig.watch()
    one, two, three, four = (rig.running(name) for name in ("one", "two", "three", "four"))
    rig.plan("one", "two", "three", two={"env": {"SLOTS": "4"}})
    rig.running("two", but=two)
    gone(four)
    assert (rig.running("one"), rig.running("three")) == (one, three)
    assert "died" not in rig.said()
    assert rig.status("two")["restarts"] == 0, "what was renewed did not fall"


def test_a_redis_that_moves_to_another_port_renews_the_roles_that_talk_to_it(rig: Rig):
    rig.plan("redis", "one", one={"uses_redis": True})
    rig.watch()
    one = rig.running("one")
    (rig.home.root / "ports.json").write_text('{"redis": 20001}')
    rig.running("one", but=one)
    assert rig.starts() == ["redis", "one", "one"]


def test_a_role_started_by_hand_is_refused_while_the_watcher_runs_it(rig: Rig):
    rig.plan("one")
    rig.watch()
    one = rig.running("one")
    by_hand = subprocess.run(
        [sys.executable, rig.role_script, "one"], env=rig.env, capture_output=True, text=True, check=False
    )
    assert f"role one of {rig.home.root} already runs as pid {one}" in by_hand.stderr


def test_the_lock_of_a_role_is_neither_in_its_children_nor_in_its_environment(rig: Rig, tmp_path: Path):
    nosy = tmp_path / "nosy.py"
    look = "import os, subprocess; out = os.path.join(os.environ['INFRA_HOME'], 'fds')\n"
    body = ROLE.replace(
        "while True:",
        "whole = 'cd $INFRA_HOME; (ls -l /dev/fd/; env) >.fds; mv .fds fds'\n"
        "subprocess.run(whole, shell=True, close_fds=False)\nwhile True:",
    )
    nosy.write_text(look + body)
    rig.plan("one", one={"argv": [str(nosy), "one"]})
    rig.watch()
    rig.running("one")
    seen = eventually(lambda: (rig.home.root / "fds").exists() and (rig.home.root / "fds").read_text())
    assert "INFRA_HOME=" in seen
    assert ".lock" not in seen
    assert "LOCK_FD" not in seen


def test_detach_returns_when_the_roles_are_up_and_down_stops_them(rig: Rig, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PYTHONPATH", str(REPO))
    rig.plan("one", "two")
    pid = detach(rig.home, [sys.executable, str(rig.script)])
    assert json.loads((rig.home.root / "watcher.json").read_text())["pid"] == pid
    one, two = rig.status("one")["pid"], rig.status("two")["pid"]
    assert os.getsid(pid) == pid
    with pytest.raises(AlreadyRunning, match=f"pid {pid}"):
        detach(rig.home, [sys.executable, str(rig.script)])
    down(rig.home)
    assert not alive(one)
    assert not alive(two)
    assert watcher_of(rig.home) is None


def test_what_an_earlier_watcher_said_of_broken_roles_is_not_held_against_a_new_one(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("PYTHONPATH", str(REPO))
    rig.plan("one")
    detach(rig.home, [sys.executable, str(rig.script)])
    down(rig.home)
    said = rig.status("one")
    assert said["state"] == "stopped"
    (rig.home.roles / "one.json").write_text(json.dumps({**said, "restarts": 9}))
    detach(rig.home, [sys.executable, str(rig.script)])
    assert rig.status("one")["restarts"] == 0


def test_detach_says_what_a_watcher_died_of(rig: Rig):
    with pytest.raises(RoleFailed, match=r"exit code 1:\n.*\n(.*\n)*.*no fleet today"):
        detach(rig.home, [sys.executable, "-c", "raise SystemExit('one\\ntwo\\nno fleet today')"])


def test_detach_says_which_role_does_not_come_up_and_the_end_of_its_log(rig: Rig, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PYTHONPATH", str(REPO))
    broken = rig.home.root / "dies.py"
    broken.write_text(DIES)
    rig.plan("good", "broken", broken={"argv": [str(broken)]})
    with pytest.raises(RoleFailed, match=r"role broken does not come up(.|\n)*no such luck"):
        detach(rig.home, [sys.executable, str(rig.script)])
