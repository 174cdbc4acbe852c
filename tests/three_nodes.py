"""Three whole nodes (or others, by name), each with its own root, nodes.json and sshd, and one Redis for all."""

from __future__ import annotations

import secrets
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from redis_process import RedisProcess
from ssh_server import LOOPBACK, SshServer
from whole_node import ROLES, WholeNode

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from network import Network
    from rsync_on_path import RsyncOnPath

NAMES = ("n1", "n2", "n3")


class FleetNode(WholeNode):
    """One node of several: its Redis is elsewhere, its nodes.json is written by its fleet."""

    roles = tuple(role for role in ROLES if role != "redis")

    def __init__(self, name: str, home: Path, server: SshServer, inside: tuple[str, ...] = (), **more: Any) -> None:
        self.name = name
        self.server = server
        self.inside = inside
        self.rsync: RsyncOnPath | None = None
        super().__init__(home, **more)

    def write_fleet(self, **more: Any) -> None:
        """Do nothing: its fleet writes it."""

    def releases(self, project: str) -> list[str]:
        """Return the digests of the trees this node holds."""
        shelf = self.home / "projects" / project / "releases"
        return sorted(item.name for item in shelf.glob("[0-9a-f]*") if item.is_dir())

    def leftovers(self) -> list[str]:
        """Return what builders left that should not be there once nothing builds."""
        return sorted(str(item) for item in (self.home / "projects").glob("*/releases/.*"))


class ThreeNodes:
    """The fleet. In a network every node has an address of its own, and its link can be cut.

    The first node has the sources of all projects.
    """

    def __init__(
        self, folder: Path, *, names: Sequence[str] = NAMES, network: Network | None = None, **more: Any
    ) -> None:
        """`more`: slots, limits, labels (by node), code (the tree that infra_tasks is taken from), env (what the
        processes of a node are given beside, by its name; `redis` for those of Redis).
        """
        self.source = names[0]
        self.more = more
        self.network = network
        self.projects: dict[str, dict[str, Any]] = {}
        hosts = (LOOPBACK,) if network is None else (LOOPBACK, network.here)
        env = more.get("env", {})
        self.redis = RedisProcess(folder / "redis", password=secrets.token_hex(16), hosts=hosts, env=env.get("redis"))
        self.nodes: dict[str, FleetNode] = {}
        for name in names:
            self._add(name, folder)

    def _add(self, name: str, folder: Path) -> None:
        host = self.network.host(name) if self.network else LOOPBACK
        inside = self.network.inside(name) if self.network else ()
        key = next(iter(self.nodes.values())).server.user_key if self.nodes else None
        code = {"code": self.more["code"]} if "code" in self.more else {}
        server = SshServer(folder / f"sshd-{name}", host=host, inside=inside, key=key)
        self.nodes[name] = FleetNode(name, folder / name, server, inside, **code)
        self.nodes[name].env.update(self.more.get("env", {}).get(name, {}))

    def __getitem__(self, name: str) -> FleetNode:
        return self.nodes[name]

    def up(self) -> ThreeNodes:
        """Start Redis, every sshd and every role of every node."""
        self.redis.start()
        for node in self.nodes.values():
            node.server.start()
        for node in self.nodes.values():
            for other in self.nodes.values():
                if other is not node:
                    other.server.admit(node.home)
        self.write()
        with ThreadPoolExecutor(len(self.nodes)) as pool:
            list(pool.map(FleetNode.up, self.nodes.values()))
        return self

    def write(self, **projects: Path | dict[str, Any]) -> None:
        """Add projects (their source, or their entry without `node`) and write every node's nodes.json."""
        for name, said in projects.items():
            self.projects[name] = {"node": self.source, **(said if isinstance(said, dict) else {"source": str(said)})}
        for node in self.nodes.values():
            node.put_fleet(self.fleet_as_seen_by(node))

    def fleet_as_seen_by(self, node: FleetNode) -> dict[str, Any]:
        """Return nodes.json for one node: itself it finds locally, the others over ssh."""
        return {
            "fleet": "three",
            "broker": self.redis.url_at(self.network.here if self.network else LOOPBACK),
            "limits": self.more.get("limits", {}),
            "nodes": {
                name: {
                    "ssh": "local" if each is node else each.server.address,
                    "root": str(each.home),
                    "slots": self.more.get("slots", 2),
                    "labels": self.more.get("labels", {}).get(name, []),
                }
                for name, each in self.nodes.items()
            },
            "projects": self.projects,
        }

    def logs(self) -> str:
        """Return the last lines of every log of every node, to be shown when a test fails."""
        said = [f"===== {name}\n{node.logs()}\n--- sshd\n{node.server.log()}" for name, node in self.nodes.items()]
        return "\n".join(said)

    def close(self) -> None:
        """End everything, whatever state it is in."""
        for node in self.nodes.values():
            node.close()
            node.server.close()
        self.redis.kill()
