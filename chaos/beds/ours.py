"""A node of ours, seen from outside: its processes by part, its ends, its own audit."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
from celery import Celery
from package_copy import copy_package, remove_package

from beat_schedule import PULSE
from chaos.notes import End
from infra_tasks.errors import InfraError
from infra_tasks.ledger.connect import url_of
from infra_tasks.model.outcome import META_PREFIX
from infra_tasks.model.run import FINAL
from infra_tasks.settings import Home

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    import redis
    from whole_node import WholeNode

    from infra_tasks.ledger import Ledger
    from infra_tasks.ledger.records import Run

ROOT = Path(__file__).parent.parent.parent
EVERYTHING = "everything"
READ_AT_ONCE = 500
TOLD = 20
GIVES_UP = {"socket_timeout": 5, "socket_connect_timeout": 3}
_VERSIONS = itertools.count(100)


def make_sources(folder: Path, names: tuple[str, ...] = ("site", "tool")) -> dict[str, Path]:
    """Make small projects, and return where each is."""
    made = {name: folder / "sources" / name for name in names}
    for source in made.values():
        (source / "deep").mkdir(parents=True)
        for number in range(10):
            (source / "deep" / f"{number}.txt").write_text(f"{source.name} {number}\n")
    return made


def env(node: WholeNode) -> dict[str, str]:
    """Return the environment of whoever hands in at a node: its own, and this suite on the path behind it."""
    return {**node.env, "PYTHONPATH": os.pathsep.join([node.env["PYTHONPATH"], str(ROOT)])}


def pids(node: WholeNode, part: str) -> list[int]:
    """Return the living processes of a part; `everything`: all but the commands."""
    if part == EVERYTHING:
        return [*_roles(node), *node.worker_children(), *_shims(node)]
    if part == "children":
        return node.worker_children()
    if part == "zygotes":
        return list(_zygotes(node))
    if part == "shim":
        return list(_shims(node))
    found = node.watcher_pid() if part == "watcher" else node.role_pid(part)
    return [found] if found else []


def _roles(node: WholeNode) -> Iterator[int]:
    for pid in (node.watcher_pid(), *(node.role_pid(role) for role in node.roles)):
        if pid:
            yield pid


def _zygotes(node: WholeNode) -> Iterator[int]:
    """What forks the shims: each pool child has one."""
    for child in node.worker_children():
        with suppress(psutil.Error):
            yield from (one.pid for one in psutil.Process(child).children() if "zygote" in " ".join(one.cmdline()))


def _shims(node: WholeNode) -> Iterator[int]:
    """The shims of what is noted as live."""
    for entry in (node.home / "live").glob("[!.]*@*"):
        run, _, attempt = entry.name.rpartition("@")
        try:
            said = json.loads((node.home / "runs" / run / attempt / "started.json").read_text())
            shim = psutil.Process(said["shim_pid"])
            if "zygote" in " ".join(shim.cmdline()) and shim.status() != psutil.STATUS_ZOMBIE:
                yield shim.pid
        except (OSError, ValueError, KeyError, psutil.Error):
            continue


def attempts(node: WholeNode) -> list[tuple[str, int]]:
    """Return the attempts of a node that are noted and have not ended: an exit record on the disk is an end."""
    noted = [entry.name.rpartition("@") for entry in (node.home / "live").glob("[!.]*@*")]
    over = {(run, number) for run, _, number in noted if (node.home / "runs" / run / number / "exit.json").exists()}
    return [(run, int(number)) for run, _, number in noted if (run, number) not in over]


def restart(node: WholeNode) -> None:
    """Start the watcher if none lives, as launchd and systemd do."""
    if not node.watcher_pid():
        node.python("-m", "workers.watcher", "--detach")


def stop(node: WholeNode) -> None:
    """Stop every role in order; the commands go on."""
    node.infra("down", "--keep")


def upgrade(node: WholeNode, folder: Path) -> None:
    """Start a stopped node with another version of the product, and take the files of the old one away."""
    if node.watcher_pid():  # the end of another strike has started it again, with the old files
        stop(node)
    former = node.code
    version = f"0.1.{next(_VERSIONS)}"
    node.take_code(copy_package(folder / f"code-{version}", version))
    if former != ROOT:
        remove_package(former)
    restart(node)


def tick(node: WholeNode, client: redis.Redis, queue: str) -> Callable[[], bool]:
    """Send what beat sends, as a client that knows Celery alone, but ask for its result: once taken, that is there."""
    app = Celery("probes", broker=url_of(Home(node.home)), broker_transport_options=GIVES_UP, set_as_current=False)
    with app.connection_for_write() as connection:
        sent = app.send_task(PULSE, queue=queue, connection=connection, retry=False, ignore_result=False)
    return lambda: bool(client.exists(f"{META_PREFIX}{sent.id}"))


def ends(ledger: Ledger, runs: Iterable[str]) -> dict[str, End | None]:
    """Return the final state of each run; None: not final, or unknown. Raises while Redis does not answer."""
    asked = list(runs)
    found: dict[str, End | None] = dict.fromkeys(asked)
    for start in range(0, len(asked), READ_AT_ONCE):
        part = asked[start : start + READ_AT_ONCE]
        for run in ledger.runs.get_many(part):
            found[run.id] = _end(run) if run.final else None
    return found


def _end(run: Run) -> End:
    return End(run.state, f"{run.attempt}:{run.claim}", run.reason, run.release)


def states(ledger: Ledger, runs: Iterable[str]) -> dict[str, str]:
    """Return what the ledger says of runs; UNKNOWN: it does not know them."""
    asked = list(runs)
    return {**dict.fromkeys(asked, "UNKNOWN"), **{run.id: str(run.state) for run in ledger.runs.get_many(asked)}}


def unmount(*folders: Path) -> None:
    """Take away whatever is mounted on these; a storm that was cut off leaves what it mounted."""
    for folder in folders:
        while subprocess.run(["umount", "--lazy", str(folder)], check=False, capture_output=True).returncode == 0:
            continue  # there may be several, one over the other


def cancel(ledger: Ledger, runs: Iterable[str]) -> None:
    """Ask that runs stop; what does not get through is not asked."""
    for run in runs:
        with suppress(InfraError):
            ledger.runs.cancel(run)


def unfinished(ledger: Ledger) -> list[str]:
    """Return what is still to be done: runs, continuations, what safe mode waits for."""
    left = sum(count for state, count in ledger.runs.counts().items() if state not in FINAL)
    said = [f"{left} runs are not final"] if left else []
    said += [f"{one} is not settled" for one in ledger.runs.unsettled()[:TOLD]]
    safe = ledger.nodes.safe_mode()
    return [*said, *([] if safe is None else [f"safe mode waits for {', '.join(safe) or 'its end'}"])]


def living(node: WholeNode) -> list[str]:
    """Return every process of a run that is alive, in words."""
    return [_in_words(one) for one in node.run_processes()]


def _in_words(process: psutil.Process) -> str:
    try:
        return f"pid {process.pid} of run {process.environ().get('INFRA_RUN')}: {' '.join(process.cmdline())[-120:]}"
    except psutil.Error:
        return f"pid {process.pid}, gone since"


def audit(node: WholeNode) -> list[str]:
    """Return what `infra audit` of this node finds."""
    said = node.infra("audit", "--json")
    if said.returncode == 0:
        return []
    try:
        found = json.loads(said.stdout)
    except ValueError:
        return [f"infra audit ended with {said.returncode}: {said.stderr.strip()[-300:]}"]
    return [json.dumps(one) for one in found.get("findings", [])][:TOLD] or [said.stdout[-500:]]
