"""The beat and flower roles as processes on a real Redis that goes away and comes back."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import urllib.error
import urllib.request
from contextlib import suppress
from pathlib import Path

import pytest
import redis
from celery import Celery
from waiting import eventually

from infra_tasks.ledger import embedded
from infra_tasks.settings import Home
from workers.beat import service
from workers.node_file import kept_port
from workers.redis_binary import find_binary
from workers.redis_server import prepare
from workers.role import Pulse
from workers.role_files import RoleFiles

REPO = Path(__file__).resolve().parents[2]
APP = """
import sys
from celery import Celery
from infra_tasks.ledger import embedded
from infra_tasks.settings import home
url = embedded.url(home())
app = Celery("tiny", broker=url, set_as_current=False)
app.conf.update(redbeat_redis_url=url, redbeat_lock_timeout=8)
"""
BEAT = (
    APP
    + """
import logging
from workers.beat import run
from workers.role import enter
logging.basicConfig(level=logging.INFO)
schedule = {"tick": {"task": "tick", "schedule": 0.3, "args": [sys.argv[1]], "options": {"queue": "ticks"}}}
run(app, enter(sys.argv[1]), schedule)
"""
)
FLOWER = (
    APP
    + "import infra_tasks, types; sys.modules['infra_tasks.app'] = types.SimpleNamespace(app=app)\n"
    + ("from workers import flower; sys.exit(flower.main())")
)


class Bench:
    """A node's folder with a Redis we turn off and on, and the processes of a test."""

    def __init__(self, root: Path) -> None:
        self.home = Home(root)
        RoleFiles(self.home, "any").make_folders()
        node = {"ssh": "local", "root": str(root)}
        self.home.nodes_json.write_text(json.dumps({"fleet": "bench", "nodes": {"n1": node}}))
        self.processes: list[subprocess.Popen[bytes]] = []
        self.redis_on()

    def redis_on(self) -> None:
        binary = find_binary()
        self.server = self.start([str(binary.path), str(prepare(self.home, binary))], "redis-server")
        self.client = redis.Redis.from_url(embedded.url(self.home), decode_responses=True)

        def answers() -> bool:
            with suppress(redis.RedisError):
                return bool(self.client.ping())
            return False

        eventually(answers, 20, "redis answers")

    def redis_off(self) -> None:
        self.client.close()
        self.server.kill()
        self.server.wait()

    def start(self, argv: list[str], name: str) -> subprocess.Popen[bytes]:
        env = {**os.environ, "INFRA_HOME": str(self.home.root), "PYTHONPATH": str(REPO)}
        with (self.home.root / f"{name}.said").open("ab") as said:
            self.processes.append(subprocess.Popen(argv, env=env, stdout=said, stderr=said))
        return self.processes[-1]

    def said(self, name: str) -> str:
        return (self.home.root / f"{name}.said").read_text()

    def beats(self, name: str) -> None:
        """Wait for two new heartbeats."""
        beat = RoleFiles(self.home, name).beat

        def mark() -> int:
            return beat.stat().st_mtime_ns if beat.exists() else 0

        for _ in range(2):
            before = mark()
            eventually(lambda before=before: mark() != before, 20, f"{name} beats:\n{self.said(name)}")

    def end(self) -> None:
        self.client.close()
        for process in reversed(self.processes):
            process.kill()
            process.wait()


@pytest.fixture
def bench(tmp_path: Path):
    made = Bench(tmp_path)
    try:
        yield made
    finally:
        made.end()


def ticks(bench: Bench) -> list[str]:
    """Who sent the ticks that lie in the queue."""
    return [json.loads(base64.b64decode(json.loads(raw)["body"]))[0][0] for raw in bench.client.lrange("ticks", 0, -1)]


def test_beat_sends_again_after_redis_was_away_and_its_heartbeat_never_stops(bench: Bench):
    beat = bench.start([sys.executable, "-c", BEAT, "beat"], "beat")
    eventually(lambda: bench.client.llen("ticks") >= 2, said="it ticks")
    bench.redis_off()
    eventually(lambda: "Redis is away" in bench.said("beat"), said="it notices")
    bench.beats("beat")
    bench.redis_on()
    seen = bench.client.llen("ticks")
    eventually(lambda: bench.client.llen("ticks") >= seen + 2, said=f"it ticks again:\n{bench.said('beat')}")
    assert beat.poll() is None


def test_of_two_beats_one_sends_and_the_other_follows_when_it_is_killed(bench: Bench):
    first = bench.start([sys.executable, "-c", BEAT, "first"], "first")
    eventually(lambda: bench.client.llen("ticks") >= 1, said="the first ticks")
    bench.start([sys.executable, "-c", BEAT, "second"], "second")
    bench.beats("second")
    seen = bench.client.llen("ticks")
    eventually(lambda: bench.client.llen("ticks") >= seen + 2, said="somebody ticks")
    assert set(ticks(bench)) == {"first"}
    first.kill()
    first.wait()
    eventually(lambda: "second" in ticks(bench), said="the second takes over")


def test_a_stopped_beat_gives_its_lease_back(bench: Bench):
    beat = bench.start([sys.executable, "-c", BEAT, "beat"], "beat")
    eventually(lambda: bench.client.exists("redbeat::lock"), said="it has the lease")
    beat.terminate()
    assert beat.wait(180) == 0
    assert not bench.client.exists("redbeat::lock")


def test_an_entry_sent_in_the_future_is_not_forgotten_when_the_clock_goes_back(bench: Bench):
    url = embedded.url(bench.home)
    app = Celery("tiny", broker=url, set_as_current=False)
    app.conf.redbeat_redis_url = url
    schedule = {"tick": {"task": "tick", "schedule": 0.3, "args": ["me"], "options": {"queue": "ticks"}}}
    scheduler = service(app, Pulse(RoleFiles(bench.home, "beat"), -1), schedule).scheduler
    try:
        assert scheduler.tick() <= 1
        entry = scheduler.Entry.from_key("redbeat:tick", app=app)
        entry.reschedule(entry.app.now().replace(year=2100))
        seen = bench.client.llen("ticks")
        scheduler.tick()
        assert bench.client.llen("ticks") == seen
        scheduler._wall_ahead_s += 3600
        eventually(lambda: scheduler.tick() and bench.client.llen("ticks") >= seen + 2, said="it goes by the new clock")
    finally:
        scheduler.close()
        app.close()
        app.redbeat_redis.close()


def fetch(bench: Bench, path: str, user: str = "") -> tuple[int, str]:
    request = urllib.request.Request(f"http://127.0.0.1:{kept_port(bench.home, 'flower') or 1}{path}")
    if user:
        request.add_header("Authorization", "Basic " + base64.b64encode(user.encode()).decode())
    try:
        with urllib.request.urlopen(request, timeout=120) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, ""
    except OSError:
        return 0, ""


def test_flower_asks_for_its_password_and_hears_events_again_after_redis_was_away(bench: Bench):
    flower = bench.start([sys.executable, "-c", FLOWER], "flower")
    eventually(lambda: fetch(bench, "/healthcheck")[0] == 200, 30, "Flower is up")
    password = (bench.home.secrets / "flower.password").read_text().strip()
    assert fetch(bench, "/workers")[0] == fetch(bench, "/metrics")[0] == 401
    assert fetch(bench, "/api/workers", "infra:wrong")[0] == 401
    assert fetch(bench, "/workers", f"infra:{password}")[0] == 200
    argv = subprocess.run(["ps", "-o", "args=", "-p", str(flower.pid)], capture_output=True, text=True, check=True)
    assert password not in argv.stdout
    eventually(lambda: heard(bench, "w@1", f"infra:{password}"), 30, f"it hears events:\n{bench.said('flower')}")
    bench.redis_off()
    bench.beats("flower")
    bench.redis_on()
    eventually(lambda: heard(bench, "w@2", f"infra:{password}"), 30, f"it hears events again:\n{bench.said('flower')}")
    assert flower.poll() is None


def heard(bench: Bench, worker: str, user: str) -> bool:
    """Whether Flower hears what a worker says now."""
    app = Celery("tiny", broker=embedded.url(bench.home), set_as_current=False)
    with app.connection_for_write() as connection, app.events.Dispatcher(connection, hostname=worker) as send:
        send.send("worker-heartbeat", freq=5, active=0)
    app.close()
    return f'flower_worker_online{{worker="{worker}"}} 1.0' in fetch(bench, "/metrics", user)[1]


def test_flower_stops_in_order_and_remembers_what_it_heard(bench: Bench):
    flower = bench.start([sys.executable, "-c", FLOWER], "flower")
    bench.beats("flower")
    flower.terminate()
    assert flower.wait(180) == 0
    assert list((bench.home.root / "flower").glob("state*"))
