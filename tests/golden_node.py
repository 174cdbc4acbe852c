"""A node whose records are kept as a golden set: it is caught at everything a node can be at, and written down.

A set is a folder: `redis.json` (ledger, results and broker lists, by key), `home/` (records of the node's folder),
`source/` (the code of its project), `submits.json` (specs, and what was handed to the ledger for each). Where the
node lived stands as `@FOLDER@`, its Python as `@PYTHON@`.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from caller import Caller
from waiting import eventually
from whole_node import ROLES, WholeNode

from infra_tasks.cli.who import who
from infra_tasks.history.archive import Archive
from infra_tasks.ledger.connect import client, url_of
from infra_tasks.ledger.submission import script_args
from infra_tasks.model.fleet import parse_fleet
from infra_tasks.settings import Home
from infra_tasks.submit import submission

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

FOLDER, PYTHON = "@FOLDER@", "@PYTHON@"
SETS = Path(__file__).parent / "golden"
# Of the node's folder: what one version writes and another may read.
KEPT = (
    "node.json", "nodes.json", "ports.json", "secrets.json", "watcher.json", "roles/*.json", "live/[!.]*", "archive/2*",
    "runs/*/outputs.json", "runs/*/outputs/**/*", "runs/*/*/*.json", "runs/*/*/std*", "runs/*/*/moments.*",
    "runs/*/*/reported",
    "projects/*/releases/*.json", "projects/*/releases/*.setup", "projects/*/releases/*/**/*",
)  # fmt: skip
LISTS = ("node.*", "pool.*", "dispatch.*", "celery", "celery-task-meta-golden-*")
ORDERED = {"golden-cancelled", "golden-extended", "golden-leased"}
# Keys whose being there is a matter of the moment.
FLEETING = ("nonce:", "check:", "pulse", "sweeper", "archivist", "safe", "asked:", "followed", "out:")
FLEET: dict[str, Any] = {
    "fleet": "golden",
    "broker": "embedded",
    "nodes": {
        "n1": {"ssh": "local", "root": f"{FOLDER}/home", "slots": 4, "labels": ["gpu"]},
        "n2": {"ssh": "somebody@n2.example", "root": "/home/somebody/.infra"},
    },
    "projects": {
        "p": {"source": f"{FOLDER}/source", "node": "n1", "setup": "echo made >made.txt"},
        "far": {"source": "/home/somebody/far", "node": "n2"},
    },
}
FULL = {
    "command": ["/bin/sh", "-c", "echo out; echo err >&2; echo $TOKEN"],
    "node": "n1",
    "name": "full",
    "labels": ["gpu"],
    "env": {"GREETING": "hello", "TOKEN": {"secret": "token"}},
    "timeout_s": 600,
    "grace_s": 3,
    "memory_bytes": 500_000_000,
    "retries": 2,
    "retry_backoff_s": 1,
    "retry_on": ["timeout", "node_lost"],
    "idempotency_key": "golden-key",
    "expires_s": 86400,
    "outputs": ["*.csv"],
    "max_running": 3,
}
SIGNATURE = {"task": "x", "args": [], "kwargs": {}, "options": {}, "subtask_type": None, "immutable": False}
SUBMITS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "least": ({"command": ["true"]}, {}),
    "shell": ({"command": "true", "node": "n1"}, {"actor": "cli"}),
    "full": (FULL, {"home_node": "n1"}),
    "project": ({"command": ["true"], "project": "p", "private": True, "lost_after_s": 300, "stop_after_s": 100}, {}),
    "labels": ({"command": ["true"], "labels": ["gpu"]}, {}),
    "later": ({"command": ["true"], "node": "n1"}, {"delay_s": 60.0, "expires_s": 600.0}),
    "moment": ({"command": ["true"], "node": "n1"}, {"at": 2000000000.0}),
    "canvas": (
        {"command": ["true"], "node": "n1"},
        {
            "embed": {"callbacks": [SIGNATURE], "errbacks": None, "chain": [SIGNATURE], "chord": None},
            "headers": {"root_id": "r", "parent_id": "q", "group": "g", "group_index": 1},
            "reply_to": "somebody",
        },
    ),
    "retry": ({"command": ["true"], "node": "n1"}, {"retry_of": "golden-success"}),
    "slot": ({"command": ["true"], "node": "n1"}, {"schedule": "beacon", "slot": "2026-11-30T02:00:00Z"}),
}


def submitted(name: str, given: dict[str, Any], options: dict[str, Any]) -> dict[str, Any]:
    """Return what this version hands to the ledger for a spec."""
    fleet = parse_fleet(json.dumps(FLEET).replace(FOLDER, "/somewhere"), "nodes.json")
    return script_args(submission(given, fleet, f"golden-{name}", **options))


def accept(run_id, spec, options=None):
    from infra_tasks import run_spec

    return run_spec.apply_async((spec,), task_id=run_id, **(options or {})).id


def accept_chain(first, second, spec):
    from celery import chain

    from infra_tasks import run_spec

    return chain(*[run_spec.si(spec).set(task_id=one) for one in (first, second)]).apply_async().id


def send_foreign(run_id, spec):
    from infra_tasks.app import app

    return app.send_task("infra_tasks.run_spec", [spec], task_id=run_id).id


class GoldenNode:
    """The node in `folder`; a context manager, all of it ends."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.node = WholeNode(folder / "home")
        kept = {name: self.node.env[name] for name in ("PYTHONPATH", "INFRA_HOME")}
        self.node.env = {**kept, "PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": "/home/somebody", "LANG": "C.UTF-8"}
        self.node.put_fleet(json.loads(json.dumps(FLEET).replace(FOLDER, str(folder))))
        (folder / "source").mkdir()
        (folder / "source" / "code.txt").write_text("of the project\n")
        self._caller: Caller | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._caller:
            self._caller.close()
        self.node.close()

    def live(self) -> GoldenNode:
        """Bring the node to where it is at everything, then kill all of it but Redis."""
        self.node.up()
        self._caller = Caller(self.node.env)
        self._have_ended()
        self._fill_slots()
        self._have_waiting()
        self._schedule()
        self._kill()
        self._call(send_foreign, "golden-foreign", {"command": ["true"], "node": "n1"})
        self._go("end")
        eventually((self._attempt("golden-ended") / "exit.json").exists, 30, "its end is on the disk, and not reported")
        self._archive("golden-full", "golden-cancelled")
        return self

    def write(self, to: Path) -> None:
        """Write the set."""
        to.mkdir(parents=True)
        _write_json(to / "redis.json", self._dump())
        said = {
            name: {"given": given, "options": options, "handed_in": submitted(name, given, options)}
            for name, (given, options) in SUBMITS.items()
        }
        _write_json(to / "submits.json", said)
        for file in self._files():
            place = to / file.relative_to(self.folder)
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(self._plain(file.read_bytes()))

    def _have_ended(self) -> None:
        self._infra("secret", "set", "token", said="a secret text")
        self._call(accept, "golden-full", FULL)
        self._call(accept, "golden-project", {"command": ["cat", "code.txt", "made.txt"], "project": "p", "node": "n1"})
        writes = {"command": "mkdir d; echo 1 >d/a.csv; echo 2 >a.txt", "outputs": ["**/*.csv", "*.txt", "*.not"]}
        self._call(accept, "golden-outputs", {**writes, "node": "n1"})
        again = {"command": "exit 3", "node": "n1", "retries": 1, "retry_backoff_s": 3600}
        self._call(accept, "golden-again", again)
        self._state("golden-again", "RETRY")
        self._start("golden-cancelled", {"command": ["sleep", "600"], "node": "n1", "grace_s": 1})
        self._infra("cancel", "golden-cancelled")
        self._start("golden-buried", {"command": "test $INFRA_ATTEMPT = 2 || sleep 600", "node": "n1"})
        os.kill(json.loads((self._attempt("golden-buried") / "started.json").read_text())["shim_pid"], signal.SIGKILL)
        for one in ("full", "project", "outputs", "buried"):
            self._state(f"golden-{one}", "SUCCESS")
        self._state("golden-cancelled", "REVOKED")

    def _fill_slots(self) -> None:
        for name, more in (("running", {"node": "n1"}), ("leased", {}), ("extended", {"node": "n1", "timeout_s": 60})):
            self._start(f"golden-{name}", {"command": f"echo said; {self._waits('go')}", **more})
        self._start("golden-ended", {"command": f"echo first; {self._waits('end')}; echo last; exit 4", "node": "n1"})
        self._infra("extend", "golden-extended", "--by", "1h")
        for name, word in (("extended", "timeout_s"), ("leased", "stop_at")):
            orders = self._attempt(f"golden-{name}") / "orders.json"
            eventually(lambda o=orders, w=word: o.exists() and w in json.loads(o.read_text()), 60, f"{word} is ordered")

    def _have_waiting(self) -> None:
        pinned = {"command": ["true"], "node": "n1"}
        self._call(accept, "golden-queued", pinned)
        self._call(accept, "golden-pool", {"command": ["true"]})
        self._call(accept_chain, "golden-first", "golden-second", pinned)
        self._call(accept, "golden-later", pinned, {"countdown": 3600})
        self._call(accept, "golden-far", {"command": ["true"], "project": "far"})

    def _schedule(self) -> None:
        for name in ("beacon", "paused"):
            self._infra("schedule", "add", name, "--every", "366d", "--node", "n1", "--", "true")  # due at no test
        with client(url_of(Home(self.node.home))) as redis:
            eventually(lambda: redis.hlen("infra:slots") == 2, 60, "beat has seen the schedules")
            eventually(lambda: "digest" in (redis.hget("infra:held", "n1") or ""), 60, "n1 says what it holds")
        self._infra("schedule", "pause", "paused")

    def _kill(self) -> None:
        gone = [role for role in ROLES if role != "redis"]
        self.node.kill("watcher", *gone, "children")
        eventually(lambda: not any(map(self.node.role_pid, gone)), 60, "all but Redis are dead")

    def _archive(self, *ids: str) -> None:
        book = self.node.ledger()
        try:
            Archive(Home(self.node.home)).add(book.history.read(ids))
        finally:
            book.close()

    def _dump(self) -> dict[str, Any]:
        with client(url_of(Home(self.node.home))) as redis:
            keys = sorted({key for pattern in ("infra:*", *LISTS) for key in redis.scan_iter(pattern)})
            kept = [key for key in keys if not key.removeprefix("infra:").startswith(FLEETING)]
            said = {key: {"type": redis.type(key), "value": _value(redis, key)} for key in kept}
        return dict(json.loads(self._plain(json.dumps(said).encode())))

    def _files(self) -> Iterator[Path]:
        yield from (self.folder / "source").iterdir()
        for pattern in KEPT:
            yield from (file for file in (self.folder / "home").glob(pattern) if file.is_file() and _is_meant(file))

    def _plain(self, data: bytes) -> bytes:
        told = {str(self.folder): FOLDER, sys.executable: PYTHON, who(): "somebody@n1"}
        for found, instead in told.items():
            data = data.replace(found.encode(), instead.encode())
        return data

    def _call(self, *what: Any) -> Any:
        assert self._caller
        return self._caller(*what)

    def _infra(self, *words: str, said: str = "") -> None:
        done = self.node.infra(*words, said=said)
        assert done.returncode == 0, f"{words}: {done.stderr}"

    def _start(self, run_id: str, spec: dict[str, Any]) -> None:
        self._call(accept, run_id, spec)
        eventually((self._attempt(run_id) / "started.json").exists, 60, f"{run_id} is started")
        self._state(run_id, "STARTED")

    def _state(self, run_id: str, state: str) -> None:
        book = self.node.ledger()
        try:
            eventually(lambda: book.runs.peek(run_id)[0] == state, 60, f"{run_id} is {state}")
        finally:
            book.close()

    def _attempt(self, run_id: str) -> Path:
        return self.node.home / "runs" / run_id / "1"

    def _go(self, word: str) -> None:
        (self.folder / word).touch()

    def _waits(self, word: str) -> str:
        return f"while [ ! -e {self.folder / word} ]; do sleep 0.05; done"


def _is_meant(file: Path) -> bool:
    """Leave out orders that a run gets or not, as the moment has it."""
    return file.name != "orders.json" or file.parts[-3] in ORDERED


def _value(redis: Any, key: str) -> Any:
    ask = {
        "string": lambda: redis.get(key),
        "hash": lambda: dict(sorted(redis.hgetall(key).items())),
        "list": lambda: redis.lrange(key, 0, -1),
        "set": lambda: sorted(redis.smembers(key)),
        "zset": lambda: [list(one) for one in redis.zrange(key, 0, -1, withscores=True)],
    }
    return ask[redis.type(key)]()


def _write_json(place: Path, said: Any) -> None:
    place.write_text(json.dumps(said, indent=1) + "\n")


def load(redis: Any, said: dict[str, Any]) -> None:
    """Put a dump into an empty Redis."""
    put = {
        "string": redis.set,
        "hash": lambda key, value: redis.hset(key, mapping=value),
        "list": lambda key, value: redis.rpush(key, *value),
        "set": lambda key, value: redis.sadd(key, *value),
        "zset": lambda key, value: redis.zadd(key, dict(value)),
    }
    for key, one in said.items():
        put[one["type"]](key, one["value"])


def settle(golden: Path, folder: Path) -> dict[str, Any]:
    """Lay a set out in `folder` as the node's own; return the dump of its Redis."""
    for file in sorted(one for one in golden.rglob("*") if one.is_file()):
        place = folder / file.relative_to(golden)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(_settled(file.read_bytes(), folder))
        if place.name in {"secrets.json", "nodes.json"}:
            place.chmod(0o600)
    for tree in (folder / "home").glob("projects/*/releases/*/"):
        _seal(tree)
    dump: dict[str, Any] = json.loads((folder / "redis.json").read_text())
    return dump


def _settled(data: bytes, folder: Path) -> bytes:
    return data.replace(FOLDER.encode(), str(folder).encode()).replace(PYTHON.encode(), sys.executable.encode())


def _seal(tree: Path) -> None:
    """Nobody writes in a release; git keeps no modes but the executable bit."""
    for path in [*tree.rglob("*"), tree]:
        path.chmod(0o555 if path.is_dir() else 0o444)


def versions(sets: Path = SETS) -> list[str]:
    """Return the versions that have a set, the newest last."""
    names: Iterable[Path] = sets.iterdir() if sets.is_dir() else ()
    return sorted((one.name for one in names if one.is_dir()), key=lambda name: [int(part) for part in name.split(".")])


def make_set(folder: Path, to: Path) -> None:
    """Have a node live in `folder`, and write its set."""
    beside = to.with_name(f".{to.name}.new")
    shutil.rmtree(beside, ignore_errors=True)
    with GoldenNode(folder) as golden:
        golden.live().write(beside)
    shutil.rmtree(to, ignore_errors=True)
    beside.rename(to)
