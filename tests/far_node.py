"""Two nodes without roles: a yard with the source, and a root behind a real sshd that releases are sent to."""

from __future__ import annotations

import json
import shlex
import shutil
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ssh_server import SshServer, user

from infra_tasks.deploy import Deployed, deploy_task_to_node
from infra_tasks.model.ssh_address import SshAddress
from infra_tasks.node import ThisNode, this_node
from infra_tasks.releases.layout import Shelf
from infra_tasks.releases.remote.launcher import write_launcher
from infra_tasks.releases.remote.line import Line
from infra_tasks.releases.remote.lines import RESTED_S, Lines
from infra_tasks.releases.remote.peer import PORTER, Peer
from infra_tasks.releases.remote.push import Pushed, push
from infra_tasks.settings import Home

if TYPE_CHECKING:
    from pathlib import Path

    from yard import Yard

    from infra_tasks.releases import Snapshot

NEAR, FAR = "n1", "n2"


def found_node(root: Path, name: str, **others: str) -> Home:
    """Make a folder of a node as it is after its first start; `others` are where the other nodes are reached."""
    root.mkdir(parents=True, exist_ok=True)
    home = Home(root)
    home.node_json.write_text(json.dumps({"name": name, "uuid": f"uuid-of-{name}"}))
    nodes = {name: {"ssh": "local", "root": str(root)}}
    nodes |= {other: dict(zip(("ssh", "root"), where.split(" "), strict=True)) for other, where in others.items()}
    home.nodes_json.write_text(json.dumps({"fleet": "far", "nodes": nodes}))
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
        self.calls_from(self.yard)

    def calls_from(self, yard: Yard) -> None:
        """Have this yard be the near node, n1, whose calls are admitted here."""
        self.yard = yard
        found_node(yard.home.root, NEAR, **{FAR: f"{self.server.address} {self.root}"})
        self.server.admit(yard.home.root)
        self.lines = Lines(yard.home)

    @property
    def me(self) -> ThisNode:
        """The near node as its own code sees it."""
        fleet = json.loads(self.yard.home.nodes_json.read_text())
        fleet["projects"] = {"p": {"source": str(self.yard.code), "node": NEAR, "exclude": list(self.yard.exclude)}}
        self.yard.home.nodes_json.write_text(json.dumps(fleet))
        return this_node(self.yard.home)

    def deploy(self, **more: Any) -> Deployed:
        """Do what dispatch does, as often as it takes."""
        return deploy_task_to_node(self.me, self.lines, "p", FAR, **more)

    def rested(self) -> None:
        """Have some time pass: kept lines are asked whether they live, and who was away is called again."""
        self.lines._away.clear()
        for lines in self.lines._idle.values():
            for line in lines:
                line.rested_at -= 2 * RESTED_S

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
        return sorted(item.name for item in self.shelf.glob(".*"))

    def trees(self) -> list[str]:
        """Return the digests of the releases that are there."""
        return sorted(item.name for item in self.shelf.glob("[0-9a-f]*") if item.is_dir())

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
        shutil.rmtree(self.lines.files.client_config().parent, ignore_errors=True)
