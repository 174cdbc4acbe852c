"""Who lives: the very process that signed a role's lock, not its children, not its corpse, not what a file says."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from waiting import eventually

from infra_tasks import roles
from infra_tasks.settings import Home
from workers import lock, telling


@pytest.fixture
def home(tmp_path):
    made = Home(tmp_path)
    made.roles.mkdir()
    return made


@pytest.fixture
def process():
    one = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE)
    yield one
    one.kill()
    one.wait()
    one.stdin.close()


def told_of(home, name, pid, state="running"):
    (home.roles / f"{name}.json").write_text(json.dumps({"pid": pid, "state": state, "restarts": 1, "since_at": 5.0}))


def state_of(home):
    (role,) = roles.roles(home)
    return role["state"], role["pid"]


def test_a_role_runs_while_the_process_that_signed_its_lock_lives(home, process):
    path = home.roles / "worker.lock"
    fd = lock.take(path)
    lock.sign(fd, process.pid)
    told_of(home, "worker", process.pid)
    assert state_of(home) == ("running", process.pid)
    assert roles.told(home) == [{"name": "worker", "state": "running", "restarts": 1, "since_at": 5.0}]
    process.kill()
    eventually(lambda: state_of(home) == (roles.DEAD, None), said="a corpse does not run, though nobody reaped it")
    process.wait()
    assert lock.take(path) is None, "a child still holds the lock"
    assert state_of(home) == (roles.DEAD, None)
    os.close(fd)


def test_another_process_with_the_same_pid_is_not_the_role(home, process):
    (home.roles / "beat.lock").write_text(json.dumps({"pid": process.pid, "started": 1.0}))
    told_of(home, "beat", process.pid)
    assert state_of(home) == (roles.DEAD, None)


def test_looking_never_takes_a_lock_away_from_who_is_about_to_have_it(home, process):
    path = home.roles / "agent.lock"
    fd = lock.take(path)
    told_of(home, "agent", None, "backoff")
    os.close(fd)
    for _ in range(200):
        assert state_of(home) == ("backoff", None)
        taken = lock.take(path)
        assert taken is not None
        os.close(taken)


def test_a_watcher_is_told_of_only_while_it_lives(home, process):
    assert roles.watcher(home) is None
    fd = lock.take(home.root / "watcher.lock")
    lock.sign(fd, process.pid)
    (home.root / "watcher.json").write_text(json.dumps({"pid": process.pid, "state": "up", "since_at": 1.0}))
    told = {"pid": process.pid, "state": "up", "since_at": 1.0, "version": None}
    assert roles.watcher(home) == told
    (home.root / "watcher.json").write_text(json.dumps({**told, "version": "0.1.0", "more": 1}))
    assert roles.watcher(home) == {**told, "version": "0.1.0"}
    process.kill()
    process.wait()
    assert roles.watcher(home) is None
    os.close(fd)


@pytest.mark.parametrize("text", ["", "[]", "{", '{"pid": "x"}', '{"pid": 1}', '{"pid": null, "started": 2}'])
def test_words_that_make_no_sense_are_nobody(home, text):
    (home.roles / "redis.lock").write_text(text)
    assert roles.living(home.roles / "redis.lock") is None


def test_a_heartbeat_goes_on_when_what_asks_the_machine_is_broken(home, tmp_path, monkeypatch):
    monkeypatch.setattr(telling, "MEMINFO", tmp_path / "not on a Mac")
    monkeypatch.setitem(sys.modules, "psutil", None)  # as after an update of the system that it was not made for
    assert "psutil" in telling.machine(home)["error"]


def test_a_heartbeat_is_not_held_up_by_what_a_machine_does_not_tell(home):
    said = telling.machine(home)
    assert said["memory_free_bytes"] > 0
    assert said["disk_free_bytes"] > 0
    assert (said["roles"], said["watcher"]) == ([], False)
    (home.roles / "worker.json").write_text('{"restarts": "many"}')
    assert "ValueError" in telling.machine(home)["error"]
    assert telling._available("MemTotal: 5 kB\nMemAvailable:    12 kB\n") == 12288
    assert telling._available("") is None
