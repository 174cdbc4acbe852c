"""The redis role under a real watcher with a real server: killed, moved, refused."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
import redis
from waiting import eventually

from infra_tasks.errors import FleetUnreachable, RoleFailed
from infra_tasks.ledger import embedded
from infra_tasks.settings import Home
from workers import lock
from workers.node_file import PORTS, is_free, password_of, port_of
from workers.redis_binary import Binary, find_binary
from workers.redis_server import prepare

REPO = Path(__file__).resolve().parents[2]
SCRIPT = """
import dataclasses, logging, sys
from infra_tasks.settings import home
from workers.policy import Patience
from workers.roles import REDIS
from workers.watcher import Watcher
logging.basicConfig(level=logging.INFO)
plan = dataclasses.replace(REDIS, patience=Patience(boot_s=90, silence_s=float(sys.argv[1]), stop_s=float(sys.argv[2])))
sys.exit(Watcher(home(), lambda: (plan,)).run())
"""


class Node:
    """A watcher with nothing but the redis role."""

    def __init__(self, root: Path, silence_s: float = 60, stop_s: float = 60) -> None:
        self.home = Home(root)
        root.mkdir(exist_ok=True)
        self._env = {**os.environ, "INFRA_HOME": str(root), "PYTHONPATH": str(REPO)}
        self.said = root / "said"
        with self.said.open("ab") as said:
            self.watcher = subprocess.Popen(
                [sys.executable, "-c", SCRIPT, str(silence_s), str(stop_s)],
                env=self._env,
                stdout=said,
                stderr=said,
                start_new_session=True,
            )

    def client(self) -> redis.Redis:
        return redis.Redis.from_url(embedded.url(self.home), decode_responses=True)

    def answers(self, but: int = 0) -> int:
        """Return the pid of the server that answers and is not `but`."""

        def look() -> int:
            with suppress(redis.RedisError, FleetUnreachable):
                with self.client() as client:
                    pid = int(client.info("server")["process_id"])
                said = json.loads((self.home.roles / "redis.json").read_text())
                return pid if pid != but and said["pid"] == pid and said["state"] == "running" else 0
            return 0

        return eventually(look, 30, f"redis answers\n{self.said.read_text()}")

    def stop(self) -> None:
        if self.watcher.poll() is None:
            self.watcher.terminate()
            try:
                self.watcher.wait(180)
            except subprocess.TimeoutExpired:
                self.watcher.kill()
                self.watcher.wait()
        holder = lock.holder(self.home.roles / "redis.lock")
        if holder and holder.lives:
            os.kill(holder.pid, signal.SIGKILL)


@pytest.fixture
def node(tmp_path: Path):
    made = Node(tmp_path / "a home with 'quotes\"")
    try:
        yield made
    finally:
        made.stop()


def listener(port: int) -> socket.socket:
    stranger = socket.socket()
    stranger.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    stranger.bind(("127.0.0.1", port))
    stranger.listen()
    return stranger


def test_what_was_acknowledged_is_there_after_kill_9(node: Node):
    first = node.answers()
    with node.client() as client:
        for number in range(100):
            client.set(f"kept:{number}", number)
            if number == 99:
                os.kill(first, signal.SIGKILL)
    node.answers(but=first)
    with node.client() as client:
        assert len(client.keys("kept:*")) == 100


def test_a_torn_last_write_does_not_keep_the_server_down(node: Node):
    first = node.answers()
    with node.client() as client:
        client.set("whole", 1)
        name = client.config_get("appendfilename")["appendfilename"]
    (log,) = [path for path in node.home.redis.rglob(f"{name}*") if path.suffix not in (".manifest", ".rdb")]
    with log.open("ab") as torn:
        torn.write(b"*3\r\n$3\r\nSET\r\n$4\r\nto")
    os.kill(first, signal.SIGKILL)
    node.answers(but=first)
    with node.client() as client:
        assert client.get("whole") == "1"


def test_a_frozen_server_is_replaced_and_keeps_its_port(tmp_path: Path):
    node = Node(tmp_path, silence_s=5, stop_s=1)
    try:
        first = node.answers()
        port = json.loads(node.home.ports_json.read_text())["redis"]
        os.kill(first, signal.SIGSTOP)
        node.answers(but=first)
        assert json.loads(node.home.ports_json.read_text())["redis"] == port
    finally:
        node.stop()


def test_it_is_set_up_to_lose_nothing_and_to_be_reached_by_nobody_else(node: Node):
    pid = node.answers()
    with node.client() as client:
        said = {
            name: client.config_get(name)[name] for name in ("appendonly", "appendfsync", "maxmemory-policy", "bind")
        }
        assert said == {
            "appendonly": "yes",
            "appendfsync": "always",
            "maxmemory-policy": "noeviction",
            "bind": "127.0.0.1",
        }
        port = client.connection_pool.connection_kwargs["port"]
    with redis.Redis(port=port) as stranger, pytest.raises(redis.AuthenticationError):
        stranger.ping()
    password = (node.home.secrets / "redis.password").read_text().strip()
    argv = subprocess.run(["ps", "-o", "args=", "-p", str(pid)], capture_output=True, text=True, check=True).stdout
    assert password not in argv
    for path in (node.home.secrets / "redis.password", node.home.redis / "redis.conf"):
        assert path.stat().st_mode & 0o077 == 0


def test_the_watcher_adopts_a_redis_and_stops_it_in_order(node: Node):
    pid = node.answers()
    node.watcher.kill()
    node.watcher.wait()
    again = Node(node.home.root)
    try:
        eventually(lambda: "redis: adopted" in again.said.read_text(), said="it adopts")
        assert again.answers() == pid
    finally:
        again.stop()
    assert again.watcher.returncode == 0
    assert "ready to exit, bye bye" in (node.home.logs / "redis.log").read_text()


def test_a_port_taken_by_a_stranger_is_left_to_him_and_clients_find_the_new_one(tmp_path: Path):
    home = Home(tmp_path)
    with listener(port_of(home, "redis")) as stranger:
        node = Node(tmp_path)
        try:
            node.answers()
            assert json.loads(home.ports_json.read_text())["redis"] != stranger.getsockname()[1]
            assert f":{stranger.getsockname()[1]} is held by" in (home.logs / "redis.log").read_text()
        finally:
            node.stop()


def test_a_redis_of_ours_that_is_no_role_is_not_run_over(node: Node):
    node.answers()
    with pytest.raises(RoleFailed, match=r"already answers on 127.0.0.1:[0-9]+, but not as a role"):
        prepare(node.home, find_binary())


def test_no_server_anywhere_is_said_with_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("workers.redis_binary.find_spec", lambda name: None)
    with pytest.raises(RoleFailed, match=r"neither redis-server nor valkey-server on PATH.*Install one \(apt install"):
        find_binary(str(tmp_path))


def test_a_server_that_is_too_old_is_passed_over(tmp_path: Path):
    old = tmp_path / "redis-server"
    old.write_text("#!/bin/sh\necho 'Redis server v=5.0.7 sha=0:0 malloc=libc bits=64 build=0'\n")
    old.chmod(0o755)
    assert find_binary(str(tmp_path)).path != old


def test_a_server_of_the_system_is_taken_before_the_one_in_the_wheel(tmp_path: Path):
    new = tmp_path / "valkey-server"
    new.write_text("#!/bin/sh\necho 'Server v=8.1.0 sha=0:0 malloc=libc bits=64 build=0'\n")
    new.chmod(0o755)
    path = f"{Path(sys.prefix, 'bin')}{os.pathsep}{tmp_path}"
    assert find_binary(path) == Binary(new, (8, 1, 0))


def test_an_older_server_never_starts_on_data_of_a_newer_one(tmp_path: Path):
    home = Home(tmp_path)
    prepare(home, Binary(Path("/new/redis-server"), (7, 2, 4)))
    with pytest.raises(RoleFailed, match=r"written by Redis 7.2.4; /old/redis-server is 6.2.14 and would lose it"):
        prepare(home, Binary(Path("/old/redis-server"), (6, 2, 14)))


def test_a_port_is_chosen_once_and_outside_of_what_outgoing_connections_get(tmp_path: Path):
    home = Home(tmp_path)
    port = port_of(home, "redis")
    assert port in PORTS
    assert is_free(port)
    assert port_of(home, "redis") == port
    assert port_of(home, "flower") != port
    assert port_of(home, "redis") == port


def test_a_password_is_made_once_and_is_for_the_owner_only(tmp_path: Path):
    home = Home(tmp_path)
    password = password_of(home, "redis")
    assert len(password) >= 32
    assert password_of(home, "redis") == password
    assert (home.secrets / "redis.password").stat().st_mode & 0o777 == 0o600
    assert [path.name for path in home.secrets.iterdir()] == ["redis.password"]


def test_the_address_of_a_redis_that_never_started_is_a_clear_error(tmp_path: Path):
    with pytest.raises(FleetUnreachable, match=r"was never started .*infra up"):
        embedded.url(Home(tmp_path))
