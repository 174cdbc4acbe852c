"""Two nodes without roles: a yard with the source, and a root behind a real sshd that releases are sent to."""

from __future__ import annotations

import json
import shlex
import shutil
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ssh_server import SshServer, user
from yard import Yard

from infra_tasks.model.ssh_address import SshAddress
from infra_tasks.releases.layout import Shelf
from infra_tasks.releases.remote.launcher import write_launcher
from infra_tasks.releases.remote.line import Line, Lines
from infra_tasks.releases.remote.peer import PORTER, Peer
from infra_tasks.releases.remote.push import Pushed, push
from infra_tasks.settings import Home

if TYPE_CHECKING:
    from pathlib import Path

    from infra_tasks.releases import Snapshot

FAR = "n2"


def found_node(root: Path, name: str) -> Home:
    """Make a folder of a node as it is after its first start, as far as callers over ssh can tell."""
    root.mkdir(parents=True, exist_ok=True)
    home = Home(root)
    home.node_json.write_text(json.dumps({"name": name, "uuid": f"uuid-of-{name}"}))
    write_launcher(home)
    return home


@dataclass
class FarNode:
    """The node `n2`: its root, its sshd, and how `yard` calls it."""

    yard: Yard
    root: Path
    server: SshServer
    lines: Lines = field(init=False)

    def __post_init__(self) -> None:
        self.home = found_node(self.root, FAR)
        self.server.admit(self.yard.home.root)
        self.lines = Lines(self.yard.home)

    @property
    def peer(self) -> Peer:
        return Peer(FAR, SshAddress(user(), self.server.host, self.server.port), str(self.root))

    @property
    def shelf(self) -> Path:
        """Where the project's releases are over there."""
        return Shelf(self.home, "p").releases

    def line(self) -> Line:
        """Return a line of its own, which the caller closes."""
        return Line(self.lines.files, self.peer)

    def push(self, taken: Snapshot | None = None, **more: Any) -> Pushed:
        """Bring a snapshot (a new one, if none is given) there over a kept line."""
        taken = taken or self.yard.snapshot()
        shelf = Shelf(self.yard.home, "p")
        with self.lines.to(self.peer) as line:
            return push(line, self.lines.files, shelf, taken.digest, lambda: taken.manifest, self.yard.code, **more)

    def tree(self, taken: Snapshot) -> Path:
        """Return where a release is over there."""
        return self.shelf / taken.digest

    def half_built(self) -> list[str]:
        """Return what is there that no finished build leaves."""
        return sorted(item.name for item in self.shelf.glob(".*")) if self.shelf.exists() else []

    def trees(self) -> list[str]:
        return sorted(item.name for item in self.shelf.iterdir() if item.is_dir()) if self.shelf.exists() else []

    def porter_begins_with(self, code: str) -> None:
        """Have every porter over there run some Python first (a disk that is not here, a death at some point)."""
        place = self.root / PORTER
        text = place.read_text()
        begin = f"{code}\nimport sys\nfrom infra_tasks.releases.remote.porter import main\nsys.exit(main())"
        place.write_text(text.replace("-m infra_tasks.releases.remote.porter", f"-c {shlex.quote(begin)}"))
        assert begin in place.read_text()

    def close(self) -> None:
        self.lines.close()
        self.server.cut()
        shutil.rmtree(self.lines.files.client_config().parent)
