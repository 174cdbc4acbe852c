"""What benchmarks run on: a whole node of ours or three, and beside it a Redis with the bare roles of plain Celery."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from redis_process import RedisProcess, free_port  # noqa: E402
from three_nodes import ThreeNodes  # noqa: E402
from waiting import eventually  # noqa: E402
from whole_node import WholeNode  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Iterator

    from celery import Celery

TRUE = "/bin/true" if Path("/bin/true").exists() else "/usr/bin/true"
NODE = "n1"
PREFIX = ".infra-bench-"
ENDS_WITHIN_S = 10


@contextlib.contextmanager
def folder() -> Iterator[Path]:
    """A folder in the user's home, where nodes live.

    Not in /tmp: where thousands of files were just deleted, ext4 without a journal takes 0.5 ms instead of 0.02 ms to
    make a new one (it walks around inodes that went lately). For the same reason `python -m benchmarks` deletes all at
    the very end.
    """
    if parent := os.environ.get("BENCH_FOLDER"):
        yield Path(tempfile.mkdtemp(dir=parent)).resolve()
        return
    with tempfile.TemporaryDirectory(prefix=PREFIX, dir=Path.home(), ignore_cleanup_errors=True) as name:
        yield Path(name).resolve()


def apart(place: Path) -> Path:
    """Ask ext4 for another part of the disk than where others deleted something lately."""
    with contextlib.suppress(OSError):
        subprocess.run(["chattr", "+T", str(place)], check=False, capture_output=True)
    inner = place / f"apart-{random.randrange(10**9)}"
    inner.mkdir()
    return inner


@contextlib.contextmanager
def whole_node(home: Path, slots: int = 2) -> Iterator[WholeNode]:
    """A node of ours with all its roles; this process is a caller of its fleet (once per process)."""
    os.environ["INFRA_HOME"] = str(home)
    node = WholeNode(home, slots=slots)
    try:
        yield node.up()
    except BaseException:
        print(node.logs(), file=sys.stderr)
        raise
    finally:
        node.close()


@contextlib.contextmanager
def three_nodes(home: Path, slots: int = 2, limits: dict[str, float] | None = None) -> Iterator[ThreeNodes]:
    """Three nodes of ours and a Redis beside them; this process is a caller on the first (once per process)."""
    fleet = ThreeNodes(home, slots=slots, limits=limits or {})
    os.environ["INFRA_HOME"] = str(fleet[fleet.source].home)
    try:
        yield fleet.up()
    except BaseException:
        print(fleet.logs(), file=sys.stderr)
        raise
    finally:
        fleet.close()


@contextlib.contextmanager
def bare_fleet(home: Path) -> Iterator[RedisProcess]:
    """A fleet that is nothing but its Redis: for what callers do alone."""
    os.environ["INFRA_HOME"] = str(home)
    with redis(home / "redis") as server:
        nodes = {NODE: {"ssh": "local", "root": str(home), "slots": 2, "labels": []}}
        (home / "nodes.json").write_text(json.dumps({"fleet": "bench", "broker": server.url, "nodes": nodes}))
        yield server


@contextlib.contextmanager
def redis(home: Path) -> Iterator[RedisProcess]:
    """A Redis of the binary and with the settings of ours: append-only file, always synced."""
    server = RedisProcess(home).start()
    try:
        yield server
    finally:
        server.kill()


class PlainCelery:
    """The roles of plain Celery as processes. `close` ends them."""

    def __init__(self, home: Path, server: RedisProcess) -> None:
        self._home = home
        self._env = {**os.environ, "BENCH_BROKER": server.url, "PYTHONPATH": str(ROOT)}
        self._env.pop("INFRA_HOME", None)
        self.url = server.url
        self.roles: list[subprocess.Popen[bytes]] = []

    def worker(self, *options: str) -> subprocess.Popen[bytes]:
        """Start a worker with two pool children."""
        return self._start("worker", "--concurrency", "2", "--pool", "prefork", "--loglevel", "WARNING", *options)

    def beat(self) -> subprocess.Popen[bytes]:
        """Start beat."""
        return self._start("beat", "--schedule", str(self._home / "schedule"), "--loglevel", "WARNING")

    def flower(self) -> subprocess.Popen[bytes]:
        """Start Flower."""
        return self._start("flower", "--address=127.0.0.1", f"--port={free_port()}")

    def app(self) -> Celery:
        """Return the app for this process, as its callers use it."""
        from benchmarks import plain  # noqa: PLC0415  BENCH_BROKER is known only now

        plain.app.conf.update(broker_url=self.url, result_backend=self.url)
        return plain.app

    def end(self, role: subprocess.Popen[bytes]) -> None:
        """End one role and all its children."""
        with contextlib.suppress(psutil.Error):
            for child in psutil.Process(role.pid).children(recursive=True):
                with contextlib.suppress(psutil.Error):
                    child.send_signal(signal.SIGKILL)
        role.kill()
        role.wait(ENDS_WITHIN_S)
        self.roles.remove(role)

    def close(self) -> None:
        """End everything."""
        for role in list(self.roles):
            self.end(role)

    def _start(self, *arguments: str) -> subprocess.Popen[bytes]:
        argv = [sys.executable, "-m", "celery", "--app", "benchmarks.plain", "--quiet", *arguments]
        with (self._home / "plain.log").open("ab") as log:
            role = subprocess.Popen(argv, env=self._env, cwd=self._home, stdout=log, stderr=log)
        self.roles.append(role)
        return role


@contextlib.contextmanager
def plain_celery(home: Path) -> Iterator[PlainCelery]:
    """A Redis of its own and whatever roles are started on it."""
    with redis(home / "redis") as server:
        plain = PlainCelery(home, server)
        try:
            yield plain
        except BaseException:
            print((home / "plain.log").read_text()[-3000:], file=sys.stderr)
            raise
        finally:
            plain.close()


class Doorbell:
    """A named pipe a command rings with its first instruction: `sh` starts in a millisecond, and both sides use it."""

    def __init__(self, home: Path) -> None:
        self._path = home / "bell"
        os.mkfifo(self._path)
        self._fd = os.open(self._path, os.O_RDWR | os.O_CLOEXEC)
        self.command = ["/bin/sh", "-c", f"echo > {self._path}"]

    def wait(self) -> float:
        """Return the moment (perf_counter) at which a command rang."""
        os.read(self._fd, 1)
        return time.perf_counter()

    def close(self) -> None:
        os.close(self._fd)


def wait_for_worker(plain: PlainCelery, within_s: float = 60) -> None:
    """Wait until a plain worker has carried something out."""
    from benchmarks.plain import run  # noqa: PLC0415

    plain.app()
    assert run.delay([TRUE]).get(timeout=within_s) == 0


def is_gone(pid: int | None) -> bool:
    """Whether a process has ended (a zombie has)."""
    try:
        return pid is None or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def pause(seconds: float) -> None:
    """Let the machine come to rest."""
    threading.Event().wait(seconds)


__all__ = ["NODE", "ROOT", "TRUE", "Doorbell", "PlainCelery", "WholeNode", "apart", "bare_fleet", "eventually",
           "folder",
           "is_gone", "pause", "plain_celery", "redis", "three_nodes", "wait_for_worker", "whole_node"]  # fmt: skip
