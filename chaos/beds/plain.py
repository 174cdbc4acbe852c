"""Plain Celery on one machine: a worker with the recommended settings, the same Redis as ours, systemd's restarts."""

from __future__ import annotations

import json
import os
import sys
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import redis
from celery.states import READY_STATES
from redis_process import free_port, redis_binary
from waiting import eventually

from chaos.beds.plain_app import ANY_QUEUE, NODE, NODE_QUEUE, REDIS
from chaos.beds.service import UNIT, Service, marked
from chaos.notes import End
from infra_tasks.ledger.connect import client
from infra_tasks.settings import Home
from workers.redis_server import configuration

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

ROOT = Path(__file__).parent.parent.parent
PASSWORD = "chaos"
REASONS = {"CommandFailed": "exit_code"}
"""What Celery calls by an exception, by the word of the checker."""
META = "celery-task-meta-"
UNACKED = "unacked"
LAST_LINES = 60
EVERYTHING = ("redis", "worker", "children")


class PlainCelery:
    """A bed (see `chaos.beds.bed`)."""

    nodes = (NODE,)
    parts = EVERYTHING
    sources: Mapping[str, Path] = {}
    door = "chaos.beds.plain_door"
    dispatches = ""
    ticked: tuple[str, ...] = ()

    def __init__(self, folder: Path, *, slots: int = 4, code: Path | None = None) -> None:  # noqa: ARG002  of ours
        self.folder, self.slots = folder, slots
        self.files = Home(folder / "plain")
        self._port = free_port()
        self._redis = self._service("redis", [redis_binary(), str(self._redis_conf())])
        self._worker = self._service("worker", self._worker_command())

    def _service(self, name: str, command: list[str]) -> Service:
        return Service(f"{self.files.root}/{name}", command, self.env(), self.files.root)

    def _redis_conf(self) -> Path:
        """The settings of our own Redis, word for word."""
        for place in (self.files.redis, self.files.logs):
            place.mkdir(parents=True, exist_ok=True)
        path = self.files.redis / "redis.conf"
        path.write_text(configuration(self.files, self._port, PASSWORD))
        return path

    def _worker_command(self) -> list[str]:
        app = [sys.executable, "-m", "celery", "-A", "chaos.beds.plain_app:app"]
        what = ["worker", "--concurrency", str(self.slots), "-Q", f"{ANY_QUEUE},{NODE_QUEUE}", "-n", f"plain@{NODE}"]
        return [*app, *what, "--without-gossip", "--without-mingle", "--loglevel", "INFO"]

    def up(self) -> None:
        self._redis.start()
        eventually(self._answers, 60, "redis answers")
        self._worker.start()
        eventually(self._consumes, 60, "the worker consumes")

    def _answers(self) -> bool:
        try:
            return bool(self.redis().ping())
        except redis.RedisError:
            return False

    def _consumes(self) -> bool:
        return any(one["cmd"] == "brpop" for one in self.redis().client_list())

    def close(self) -> None:
        self._worker.close()
        self._redis.close()
        for one in self._commands():
            one.kill()

    def env(self) -> Mapping[str, str]:
        return {
            **os.environ,
            REDIS: f"redis://:{PASSWORD}@127.0.0.1:{self._port}/0",
            "PYTHONPATH": str(ROOT),
        }

    def pids(self, part: str, node: str) -> list[int]:
        if part == "everything":
            return [pid for one in EVERYTHING for pid in self.pids(one, node)]
        if part == "children":
            return self._children()
        found = {"redis": self._redis, "worker": self._worker}[part].pid if part in EVERYTHING else None
        return [found] if found else []

    def _children(self) -> list[int]:
        main = self._worker.pid
        try:
            return [one.pid for one in psutil.Process(main).children()] if main else []
        except psutil.Error:
            return []

    def attempts(self, node: str) -> list[tuple[str, int]]:  # noqa: ARG002  there is one
        found = set()
        for one in self._commands():
            try:
                said = one.environ()
                found.add((said["INFRA_RUN"], int(said["INFRA_ATTEMPT"])))
            except (psutil.Error, KeyError):
                continue
        return sorted(found)

    def _commands(self) -> list[psutil.Process]:
        """Every process of a command: they say of which run they are, and of which worker."""
        ours = marked(UNIT, lambda said: said == self._worker.unit)
        return [one for one in ours if _is_of_a_run(one)]

    def restart(self, node: str) -> None:
        """Nothing: systemd does not die."""

    def stop(self, node: str) -> None:
        raise NotImplementedError("plain Celery is not stopped in order")

    def upgrade(self, node: str) -> None:
        raise NotImplementedError("plain Celery is not upgraded")

    def home(self, node: str) -> Path:  # noqa: ARG002  there is one
        """The folder of the node."""
        return self.files.root

    @cached_property
    def _client(self) -> redis.Redis:
        """That which looks from outside gives up in time, as on our own bed: a strike must not wait for another."""
        return client(self.env()[REDIS])

    def redis(self) -> redis.Redis:
        return self._client

    def tick(self, queue: str) -> Callable[[], bool]:
        raise NotImplementedError("plain Celery has no queue but those of runs")

    def ends(self, runs: Iterable[str]) -> dict[str, End | None]:
        return {run: _end(meta) for run, meta in self._metas(runs).items()}

    def states(self, runs: Iterable[str]) -> dict[str, str]:
        """Return what Celery says of runs: PENDING is what it says of an id it does not know."""
        return {run: str(meta.get("status", "PENDING")) for run, meta in self._metas(runs).items()}

    def _metas(self, runs: Iterable[str]) -> dict[str, dict[str, Any]]:
        asked = list(runs)
        found: list[Any] = self.redis().mget([META + run for run in asked]) if asked else []
        return {run: json.loads(meta) if meta else {} for run, meta in zip(asked, found, strict=True)}

    def unfinished(self) -> list[str]:
        waiting = {queue: self.redis().llen(queue) for queue in (ANY_QUEUE, NODE_QUEUE)}
        waiting[UNACKED] = self.redis().hlen(UNACKED)
        return [f"{count} messages in {name}" for name, count in waiting.items() if count]

    def living(self) -> list[str]:
        return [f"pid {one.pid}" for one in self._commands()]

    def audit(self) -> list[str]:
        return []

    def logs(self) -> str:
        logs = sorted([*self.files.root.glob("*.log"), *self.files.logs.glob("*.log")])
        said = {log.name: log.read_text(errors="replace").splitlines()[-LAST_LINES:] for log in logs}
        return "\n".join(f"--- {name}\n" + "\n".join(lines) for name, lines in said.items())


def _is_of_a_run(process: psutil.Process) -> bool:
    try:
        return "INFRA_RUN" in process.environ()
    except psutil.Error:
        return False


def _end(meta: dict[str, Any]) -> End | None:
    if meta.get("status") not in READY_STATES:
        return None
    why = meta["result"].get("exc_type", "") if isinstance(meta.get("result"), dict) else ""
    return End(meta["status"], reason=REASONS.get(why, why))
