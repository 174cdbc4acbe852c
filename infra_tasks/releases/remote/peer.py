"""Another node as this node's nodes.json describes it: whom to call, and where its folder is."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING

from infra_tasks.errors import BadFleet
from infra_tasks.model.nearest import did_you_mean
from infra_tasks.model.ssh_address import SshAddress, ssh_address

if TYPE_CHECKING:
    from infra_tasks.model.fleet import Fleet

# The program a node keeps in its folder for who calls over ssh.
PORTER = "bin/porter"


@dataclass(frozen=True)
class Peer:
    """A node that is called over ssh. `root` is as nodes.json has it: it may begin with ~."""

    name: str
    address: SshAddress
    root: str

    @property
    def target(self) -> str:
        """`user@host` as ssh and rsync take it."""
        host = f"[{self.address.host}]" if ":" in self.address.host else self.address.host
        return f"{self.address.user}@{host}"

    @property
    def shown(self) -> str:
        """The node for a person: its name, and how it is reached."""
        return f"{self.name} ({self.target}:{self.address.port})"

    @property
    def porter(self) -> str:
        """The command line that starts its porter, for any login shell."""
        return shell_path(f"{self.root.rstrip('/')}/{PORTER}")


def peer_of(fleet: Fleet, name: str) -> Peer:
    """Return how a node is called. Raises BadFleet for one that is unknown or on this machine."""
    node = fleet.nodes.get(name)
    if node is None:
        raise BadFleet(f"no node {name!r} in nodes.json{did_you_mean(name, fleet.nodes)}")
    address = ssh_address(node.ssh)
    if address is None:
        raise BadFleet(f"node {name!r} has no ssh address (ssh is 'local')")
    return Peer(name, address, node.root)


def shell_path(path: str) -> str:
    """Quote a path for the shell at the far end; a home folder is for that shell to fill in."""
    if not path.startswith("~"):
        return shlex.quote(path)
    owner, slash, rest = path.partition("/")
    home = '"$HOME"' if owner == "~" else owner
    return home + (slash + shlex.quote(rest) if rest else "")
