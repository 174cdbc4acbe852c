"""A node whose own Redis is run by the test, for tests of backups: what changes in its folder is the test's doing."""

from __future__ import annotations

import io
import json
import os
import secrets
import stat
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest
import zstandard
from redis_process import RedisProcess
from run_fleet import TestFleet

from infra_tasks.backup.restore import restoring
from infra_tasks.cli import nodes_file
from infra_tasks.node import this_node
from infra_tasks.settings import Home

NOW = 1_000_000_000.0
small_disk = pytest.mark.skipif(sys.platform != "linux" or os.geteuid() != 0, reason="only root can mount a small disk")


class Bed(TestFleet):
    """A node whose own Redis is run by the test; no watcher, so nothing else changes a file."""

    __test__ = False

    def __init__(self, root: Path) -> None:
        home = Home(root)
        nodes_file.create(home, {"name": "n1"}, {})
        password = secrets.token_hex(8)
        self.redis = RedisProcess(home.redis, password=password).start()
        home.secrets.mkdir(mode=0o700)
        (home.secrets / "redis.password").write_text(password)
        home.ports_json.write_text(json.dumps({"redis": self.redis.port}))
        this_node(home)
        super().__init__(home)

    @property
    def safe(self):
        return self.ledger.nodes.safe_mode()

    def backup(self, to):
        return Path(self.json("backup", str(to))["file"])

    def restore(self, file):
        with restoring(self.home, Path(file), lambda _: None) as restoration:
            return restoration.put(NOW, lambda _: None)

    def close(self):
        self.ledger.close()
        self.redis.kill()


def bed_at(root):
    """Give a node in `root`."""
    made = Bed(root)
    yield made
    made.close()


def tree(root):
    """Every path below a folder with its kind, mode and content; locks left out."""
    return {
        str(path.relative_to(root)): (
            stat.filemode(path.lstat().st_mode),
            path.read_bytes() if path.is_file() else b"",
        )
        for path in sorted(root.rglob("*"))
        if path.name not in {"watcher.lock", ".backup.lock", "log"}
    }


def beside(folder):
    return sorted(path.name for path in folder.iterdir())


def unpacked(file):
    """Return the tar in a backup."""
    return zstandard.ZstdDecompressor().stream_reader(io.BytesIO(file.read_bytes())).read()


@contextmanager
def mounted(folder, size):
    """A small disk in a folder."""
    said = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)],
        capture_output=True,
        text=True,
        check=False,
    )
    if said.returncode != 0:
        pytest.skip(f"nothing can be mounted here: {said.stderr}")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)
