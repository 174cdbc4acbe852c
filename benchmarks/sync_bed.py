"""What bench_sync runs on: a git tree of 10,000 files, a real sshd on loopback, and as many far roots as are wanted."""

from __future__ import annotations

import contextlib
import json
import os
import random
import subprocess
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from far_node import found_node
from ssh_server import SshServer, user

from benchmarks.bed import apart, folder, pause
from infra_tasks.deploy import Deployed, deploy_task_to_node
from infra_tasks.node import ThisNode, this_node
from infra_tasks.releases.remote.lines import Lines
from infra_tasks.releases.remote.peer import peer_of
from infra_tasks.settings import Home

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PROJECT = "big"
FILES = 10_000
FOLDERS = 500
SETTLED_S = 0.2
TREE_BYTES = 80_000_000
NEAR = "near"


@dataclass
class SyncBed:
    """`ours` and the floors, each timed by whoever calls it."""

    home: Path
    server: SshServer
    lines: Lines = field(init=False)
    nodes: int = 0
    edits: int = 0
    _dice: random.Random = field(default_factory=lambda: random.Random(3))

    def __post_init__(self) -> None:
        self.source = self.home / "source"
        self._near = found_node(self.home / NEAR, NEAR)
        self.server.admit(self._near.root)
        self.lines = Lines(self._near)
        self._make_tree()

    def _make_tree(self) -> None:
        size = TREE_BYTES // FILES
        for number in range(FILES):
            place = self._file(number)
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(self._dice.randbytes(size))
        for words in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "all"]):
            who = ["-c", "user.name=bench", "-c", "user.email=bench@example.org", "-c", "gc.auto=0"]
            subprocess.run(["git", *who, *words], cwd=self.source, check=True)

    def _file(self, number: int) -> Path:
        return self.source / f"folder{number % FOLDERS:03}" / f"file{number:05}.py"

    def edit(self, files: int) -> None:
        """Change that many files, each time other ones."""
        self.edits += 1
        for number in self._dice.sample(range(FILES), files):
            with self._file(number).open("r+b") as file:
                file.write(f"edit {self.edits} of {number}".encode())
        # Nobody dispatches within a tenth of a second of saving a file; a snapshot that soon looks twice.
        pause(SETTLED_S)

    def new_nodes(self, count: int = 1) -> list[str]:
        """Make roots of nodes that hold nothing yet; lines to them are open when this returns."""
        names = [f"far{number}" for number in range(self.nodes, self.nodes + count)]
        self.nodes += count
        for name in names:
            found_node(self.home / name, name)
        me = self.me
        for name in names:
            with self.lines.to(peer_of(me.fleet, name)):
                pass
        return names

    @property
    def me(self) -> ThisNode:
        """The near node, whose nodes.json knows all far ones."""
        far = {f"far{number}": self.home / f"far{number}" for number in range(self.nodes)}
        nodes = {name: {"ssh": self.server.address, "root": str(root)} for name, root in far.items()}
        nodes[NEAR] = {"ssh": "local", "root": str(self._near.root)}
        projects = {PROJECT: {"source": str(self.source), "node": NEAR}}
        self._near.nodes_json.write_text(json.dumps({"fleet": "bench", "nodes": nodes, "projects": projects}))
        return this_node(self._near)

    def far(self, name: str) -> Home:
        return Home(self.home / name)

    def deploy(self, me: ThisNode, node: str, said: str | None = None) -> Deployed:
        """Have the source as it is now on a node; `said` is what must have been done for that."""
        done = deploy_task_to_node(me, self.lines, PROJECT, node)
        assert said in {None, done.said}, done
        return done

    def rsync(self, target: str, *options: str, cold: bool = False) -> None:
        """Do what rsync alone would do: `rsync -a` over ssh, over a connection that is kept unless `cold`."""
        alone = "-o ControlPath=none" if cold else ""
        shell = f"ssh -F {self.lines.files.client_config()} {alone} -p {self.server.port}"
        there = f"{user()}@{self.server.host}:{self.home}/{target}/"
        argv = ["rsync", "-a", "--exclude=/.git", *options, "-e", shell, f"{self.source}/", there]
        subprocess.run(argv, check=True)


@contextlib.contextmanager
def sync_bed() -> Iterator[SyncBed]:
    """A bed whose processes end with it."""
    with folder() as place:
        home = apart(place)
        server = SshServer(home / "sshd").start()
        try:
            bed = SyncBed(home, server)
            yield bed
            bed.lines.close()
        finally:
            server.close()


def settle() -> None:
    """Have what was written before on the disk, so that nobody pays for what another wrote."""
    os.sync()
