"""The memory of a whole idle node (sum of PSS of all its processes), beside the same roles of plain Celery."""

from __future__ import annotations

from pathlib import Path

import psutil

from benchmarks.bed import NODE, TRUE, WholeNode, folder, pause, plain_celery, wait_for_worker, whole_node
from benchmarks.figure import Figure

AT_MOST = 1.5
AT_MOST_MB = 300
REST_S = 8.0


def figures(*, quick: bool) -> list[Figure]:
    """Measure one after the other: side by side they would share pages. Each has worked before it rests."""
    rest_s = 4.0 if quick else REST_S
    floor = _bare(rest_s)
    ours = _node(rest_s)
    total, bare = sum(ours.values()), sum(floor.values())
    rows = [
        Figure(
            "memory of an idle node, sum of PSS",
            total,
            "MB",
            bare,
            "<= 1.5x, <= 300 MB",
            total <= min(AT_MOST * bare, AT_MOST_MB),
        )
    ]
    return rows + [Figure(f"  {role}", size, "MB", floor.get(role)) for role, size in ours.items()]


def pss_mb(pid: int) -> float:
    """Return what a process holds, shared pages counted in parts (Linux; elsewhere what it shares with nobody)."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return psutil.Process(pid).memory_full_info().uss / 1e6
    return next(int(line.split()[1]) for line in lines if line.startswith("Pss:")) * 1024 / 1e6


def _tree_mb(pid: int | None) -> float:
    if pid is None:
        return 0.0
    return sum(pss_mb(one) for one in [pid, *(child.pid for child in psutil.Process(pid).children(recursive=True))])


def _bare(rest_s: float) -> dict[str, float]:
    with folder() as home, plain_celery(home) as celery:
        roles = {
            "worker": celery.worker("--without-mingle", "--without-gossip"),
            "beat": celery.beat(),
            "flower": celery.flower(),
        }
        for _ in range(4):
            wait_for_worker(celery)
        pause(rest_s)
        server = _child_that_serves(celery.url)
        return {"redis": pss_mb(server), **{name: _tree_mb(role.pid) for name, role in roles.items()}}


def _node(rest_s: float) -> dict[str, float]:
    with folder() as home, whole_node(home) as node:
        from infra_tasks import run_spec  # noqa: PLC0415

        for result in [run_spec.delay({"command": [TRUE], "node": NODE}) for _ in range(8)]:
            result.get(timeout=60)
        pause(rest_s)
        return _roles(node)


def _roles(node: WholeNode) -> dict[str, float]:
    roles = {role: _tree_mb(node.role_pid(role)) for role in ("redis", "worker", "beat", "flower", "agent", "control")}
    watcher = node.watcher_pid()
    return {**roles, "watcher": pss_mb(watcher) if watcher else 0.0}


def _child_that_serves(url: str) -> int:
    port = url.rsplit(":", 1)[1].split("/", 1)[0]
    for child in psutil.Process().children():
        if port in child.cmdline() or any(f":{port}" in part for part in child.cmdline()):
            return child.pid
    raise AssertionError(f"no child of ours serves {url}")
