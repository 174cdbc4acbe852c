"""The nodes of a fleet as `infra nodes` and `infra top` show them. Pure."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from infra_tasks.cli import spans
from infra_tasks.cli.cordon_words import cordon_words
from infra_tasks.model.amounts import bytes_in_words

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from infra_tasks.ledger.code import HeldRelease
    from infra_tasks.ledger.nodes import NodeSeen
    from infra_tasks.model.fleet import Fleet

UP = "up"
UNREACHABLE = "UNREACHABLE"
NEVER_SEEN = "never seen"
# An agent speaks every second; what it said about roles is taken for true no longer than this.
HEARD_LATELY_S = 5.0
# What the ledger says of a node that is cordoned.
CORDON = ("cordon_why", "cordoned_by", "cordoned_at", "survivors_why", "drain", "drain_by", "drain_until_at")
MOMENTS = ("cordoned_at", "drain_until_at")
HEADINGS = ("NODE", "STATE", "SLOTS", "LOAD", "DISK", "MEMORY", "RELEASES", "VERSION", "SEEN", "HOW IT IS")


@dataclass(frozen=True)
class NodeView:
    """All that is known of one node; None: not known. `load`: of one minute, of the whole machine.

    `roles` are known only when the node was heard lately, or is this one.
    """

    name: str
    state: str
    live: int = 0
    slots: int | None = None
    load: float | None = None
    cpus: int | None = None
    load_per_core: float | None = None
    disk_free_bytes: int | None = None
    memory_free_bytes: int | None = None
    roles: list[dict[str, Any]] | None = None
    watcher: bool | None = None
    releases: list[dict[str, str]] | None = None
    version: str | None = None
    labels: tuple[str, ...] = ()
    silent_s: float | None = None
    cordoned: bool = False
    cordon_why: str | None = None
    cordoned_by: str | None = None
    cordoned_at: float | None = None
    survivors_why: str | None = None
    drain: str | None = None
    drain_by: str | None = None
    drain_until_at: float | None = None
    in_nodes_json: bool = True

    @property
    def is_up(self) -> bool:
        """It spoke lately."""
        return self.state == UP

    def as_json(self) -> dict[str, Any]:
        """Return it as `infra nodes --json` prints it."""
        return asdict(self)

    def row(self) -> tuple[str, ...]:
        """Return what stands below `HEADINGS`."""
        return (
            self.name,
            self.state,
            "" if self.slots is None else f"{self.live} of {self.slots}",
            "" if self.load_per_core is None else f"{self.load_per_core:.0%}",
            "" if self.disk_free_bytes is None else f"{bytes_in_words(self.disk_free_bytes)} free",
            "" if self.memory_free_bytes is None else f"{bytes_in_words(self.memory_free_bytes)} free",
            "" if self.releases is None else str(len(self.releases)),
            self.version or "",
            "" if self.silent_s is None else f"{spans.words(self.silent_s)} ago",
            self.words(),
        )

    @property
    def cordon_words(self) -> str:
        """Return why nothing new is placed here, "" when it is."""
        known = {name: str(getattr(self, name) or "") for name in CORDON}
        return cordon_words({**known, "cordoned": "1" if self.cordoned else ""})

    def words(self) -> str:
        """Return how it is: cordoned and why, and what of it does not run."""
        said = [self.cordon_words] if self.cordoned else []
        if self.state != NEVER_SEEN:
            said.append(_roles_in_words(self.roles))
        if self.watcher is False:
            said.append("its watcher is dead: nothing is started again")
        if not self.in_nodes_json:
            said.append("not in nodes.json any more")
        return "; ".join(said)


@dataclass(frozen=True)
class Own:
    """What this node's own folder tells, which is newer than any heartbeat. `name` None: none lives here."""

    name: str | None
    roles: list[dict[str, Any]]
    watcher: bool


def views(
    fleet: Fleet, seen: Sequence[NodeSeen], held: Mapping[str, Sequence[HeldRelease]], own: Own
) -> list[NodeView]:
    """Return the nodes that spoke, and those of nodes.json that never did, by name."""
    known = {node.name: _view(node, held.get(node.name), own, fleet) for node in seen}
    others = {name: NodeView(name, NEVER_SEEN) for name in fleet.nodes if name not in known}
    said = {
        name: replace(view, slots=fleet.nodes[name].slots, labels=fleet.nodes[name].labels)
        if view.state == NEVER_SEEN and name in fleet.nodes
        else view
        for name, view in {**others, **known}.items()
    }
    return [view for _, view in sorted(said.items())]


def _view(node: NodeSeen, held: Sequence[HeldRelease] | None, own: Own, fleet: Fleet) -> NodeView:
    spoke = bool(node.fields.get("seen_at"))
    view = NodeView(
        name=node.name,
        state=(UP if node.reachable else UNREACHABLE) if spoke else NEVER_SEEN,
        cordoned=node.cordoned,
        **_cordon(node.fields),
        in_nodes_json=node.name in fleet.nodes,
    )
    return replace(view, **_said_by_itself(node, held, own)) if spoke else view


def _cordon(fields: Mapping[str, str]) -> dict[str, Any]:
    known = {name: fields.get(name) or None for name in CORDON}
    return {name: float(text) if text and name in MOMENTS else text for name, text in known.items()}


def _said_by_itself(node: NodeSeen, held: Sequence[HeldRelease] | None, own: Own) -> dict[str, Any]:
    info, is_own, heard = node.info, node.name == own.name, node.silent_s <= HEARD_LATELY_S
    load, cpus = info.get("load"), info.get("cpus")
    return {
        "live": node.live,
        "slots": int(node.fields.get("slots") or 0),
        "load": load,
        "cpus": cpus,
        "load_per_core": round(load / cpus, 3) if cpus and load is not None else None,
        "disk_free_bytes": info.get("disk_free_bytes"),
        "memory_free_bytes": info.get("memory_free_bytes"),
        "roles": own.roles if is_own else info.get("roles") if heard else None,
        "watcher": own.watcher if is_own else info.get("watcher") if heard else None,
        "releases": [{"project": one.project, "release": one.digest} for one in held or ()],
        "version": node.fields.get("version") or None,
        "labels": tuple(node.labels),
        "silent_s": round(node.silent_s, 1),
    }


def _roles_in_words(roles: Sequence[Mapping[str, Any]] | None) -> str:
    if roles is None:
        return "roles unknown: its agent is silent"
    wrong = [f"{role['name']} {role['state'] or 'unknown'}" for role in roles if role["state"] != "running"]
    if wrong:
        return ", ".join(wrong)
    return f"{len(roles)} roles run" if roles else "no role was ever started"
