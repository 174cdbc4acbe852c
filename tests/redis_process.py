"""A real Redis for tests: own folder, own port, append-only file as in production; killed and started at will."""

from __future__ import annotations

import os
import random
import shutil
import socket
import subprocess
import sys
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import redis
from waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path


def redis_binary() -> str:
    """Return the server the project itself would use."""
    from workers.redis_binary import find_binary

    return str(find_binary().path)


def free_port() -> int:
    """Return a loopback port that is free, and that the kernel gives to nobody who asks it for any."""
    while True:
        port = random.randrange(15_000, 30_000)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


@contextmanager
def refusing_port() -> Iterator[int]:
    """Give a loopback port where nobody listens, nor anybody else can meanwhile."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield int(held.getsockname()[1])


# A disk that is busy holds every write up: it is kept before it is acknowledged.
ANSWERS_WITHIN_S = 120


class RedisProcess:
    """One server. `start`, `kill`, `stop`, `copy_to` / `restore_from` for rolling it back."""

    def __init__(
        self,
        folder: Path,
        *,
        password: str = "",
        hosts: tuple[str, ...] = ("127.0.0.1",),
        env: Mapping[str, str] | None = None,
    ) -> None:
        """`env`: what it is given beside the environment of the tests."""
        self.folder = folder
        self.folder.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        self.password = password
        self.hosts = hosts
        self.env = {**os.environ, **(env or {})}
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return self.url_at(self.hosts[0])

    def url_at(self, host: str) -> str:
        """The address for whoever reaches this machine under another name."""
        return f"redis://{f':{self.password}@' if self.password else ''}{host}:{self.port}/0"

    def start(self) -> RedisProcess:
        self.launch()
        eventually(self.answers, 20, f"redis on {self.port} answers: {sys.platform}")
        return self

    def launch(self) -> None:
        """Start it, and wait for nothing: it may be struck before it ever answers."""
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [redis_binary(), *self.options()],
                stdout=log,
                stderr=log,
                cwd=self.folder,
                env=self.env,
            )

    def options(self) -> list[str]:
        """The settings of the project's own Redis."""
        place = ["--port", str(self.port), "--bind", *self.hosts, "--dir", str(self.folder)]
        secret = ["--requirepass", self.password] if self.password else []
        return [*place, *secret, "--save", "", "--appendonly", "yes", "--appendfsync", "always"]

    def answers(self) -> bool:
        try:
            with redis.Redis(port=self.port, password=self.password or None, socket_timeout=2) as client:
                return bool(client.ping())
        except redis.RedisError:
            return False

    def waited_for(self, key: str) -> bool:
        """Say whether somebody has subscribed to a key and then looked whether it is there."""
        with self._client() as client:
            done = [one["cmd"] for one in client.client_list()]
            return bool(client.pubsub_channels(key)) and "get" in done

    def put(self, key: str, text: str) -> None:
        """Write a value and announce it, as the script that ends a run does."""
        with self._client() as client:
            client.set(key, text)
            client.publish(key, text)

    def _client(self) -> redis.Redis:
        return redis.Redis(port=self.port, password=self.password or None, socket_timeout=ANSWERS_WITHIN_S)

    def kill(self) -> None:
        if self.process:
            self.process.kill()
            self.process.wait()
            self.process = None

    def copy_to(self, folder: Path) -> None:
        """Keep what is on disk now (the server may run: appendfsync always)."""
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(self.folder, folder, ignore=shutil.ignore_patterns("log"))

    def restore_from(self, folder: Path) -> None:
        """Put an older copy in place of the stopped server's files."""
        for item in self.folder.iterdir():
            if item.name != "log":
                shutil.rmtree(item) if item.is_dir() else item.unlink()
        shutil.copytree(folder, self.folder, dirs_exist_ok=True)
