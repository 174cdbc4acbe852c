"""The roles of a node on this machine: its watcher, and what the watcher keeps running."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from infra_tasks.cli.doctor.finding import bad, ok, warning

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from infra_tasks.cli.doctor.finding import Finding

MANY_RESTARTS = 5


def judge(
    watcher: Mapping[str, Any] | None, roles: Sequence[Mapping[str, Any]], logs: Path, up: str, ours: str
) -> Iterator[Finding]:
    """Say what is to be thought of them.

    `logs`: the folder of their logs, `up`: the command that starts the node, `ours`: the version that is installed.
    """
    if watcher is None:
        alive = [role["name"] for role in roles if role["pid"]]
        if not roles:
            yield warning("watcher", "this node was never started", up)
        elif alive:
            yield bad("watcher", f"not running; nobody brings {', '.join(alive)} back if they end", up)
        else:
            yield warning("watcher", "this node is not up", up)
        return
    yield _watcher(watcher, up, ours)
    for role in roles:
        yield _role(role, logs / f"{role['name']}.log")


def _watcher(watcher: Mapping[str, Any], up: str, ours: str) -> Finding:
    said, theirs = f"{watcher['state']}, pid {watcher['pid']}", watcher.get("version")
    if theirs in {None, ours}:
        return ok("watcher", said)
    return warning(
        "watcher",
        f"{said}, but of infra {theirs}; installed here is {ours}",
        f"{up.replace('infra up --detach', 'infra down --keep')}, then {up}: commands go on",
    )


def _role(role: Mapping[str, Any], log: Path) -> Finding:
    check, restarts = f"role {role['name']}", role["restarts"]
    if not role["pid"]:
        said = f"{role['state'] or 'not running'}, restarted {restarts} times"
        return bad(check, said, f"the watcher tries again; why it ends: tail {log}")
    if restarts >= MANY_RESTARTS:
        return warning(check, f"{role['state']}, but was restarted {restarts} times", f"see why: tail {log}")
    return ok(check, f"{role['state']}, pid {role['pid']}")
