"""A new version of the package takes over what the old one was at, though the old one's files are gone (G6)."""

from __future__ import annotations

import json
import os
import shutil
import signal
from typing import TYPE_CHECKING, Any

import caller
import pytest
from effects import Effects
from package_copy import ROOT, copy_package, remove_package
from waiting import eventually
from whole_node import ROLES, WholeNode

import infra_tasks
from infra_tasks.ledger.connect import client, url_of
from infra_tasks.settings import Home

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = pytest.mark.chaos

OLD, NEW = "0.0.9", infra_tasks.__version__
SLOTS = 5
LIVE = ("QUEUED", "STARTED")
LIMIT_S = 20.0
"""Long enough for all to be at work, and the others to wait, before its slot is free: on a busy machine as well."""
LINES = 3000
TELL = f"i=0; while [ $i -lt {LINES} ]; do echo line $i of a long story; i=$((i+1)); done"


@pytest.fixture
def node(tmp_path: Path) -> Iterator[WholeNode]:
    """A node of the version before, up."""
    one = WholeNode(tmp_path / "node", slots=SLOTS).take_code(copy_package(tmp_path / "old", OLD))
    try:
        yield one.up()
    finally:
        print(one.logs())  # noqa: T201  shown when a test fails
        one.close()


@pytest.fixture
def there(node: WholeNode) -> Iterator[caller.Caller]:
    """A user's program; it has the new version already."""
    one = caller.Caller({**node.env, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")])})
    yield one
    one.close()


def accept(spec, options=None):
    from infra_tasks import run_spec

    return run_spec.apply_async((spec,), **(options or {})).id


def accept_chain(*specs):
    from celery import chain

    from infra_tasks import run_spec

    last = chain(*[run_spec.si(spec) for spec in specs]).apply_async()
    return [last.parent.parent.id, last.parent.id, last.id]


def results_of(ids):
    from infra_tasks import RunFailed, run_spec

    found = []
    for one in ids:
        try:
            found.append(run_spec.AsyncResult(one).get(timeout=180))
        except RunFailed as failed:
            found.append(failed.result)
    return found


class Load:
    """Runs of every kind, each caught at something else; `go` lets those end that wait for a word."""

    def __init__(self, node: WholeNode, there: caller.Caller, folder: Path) -> None:
        self.effects = Effects(folder / "effects")
        self._folder, self._node, self._there = folder, node, there
        tells = f"echo $$ >>{folder}/tellers; {TELL}; {self._waits('tell')}; {TELL}"
        self.teller = there(accept, {"command": tells, "name": "teller"})
        self.ids = {
            "deserted": there(accept, {"command": self._until("deserted", code=4)}),
            "parent": there(accept, {"command": self._until("parent", "child")}),
            "endless": there(accept, {"command": self.effects.command(600), "timeout_s": LIMIT_S, "grace_s": 1}),
        }
        first, second, third = there(
            accept_chain, *[{"command": one} for one in (self._now(), self._until("chain"), self._now())]
        )
        eventually(lambda: self._started(second) and all(map(self._started, self.ids.values())), 60, "all slots full")
        self.ids |= {"first": first, "second": second, "third": third}
        self.ids |= {f"queued{n}": there(accept, {"command": self._now()}) for n in range(3)}
        self.ids["later"] = there(accept, {"command": self._now()}, {"countdown": 8})

    def go(self, name: str) -> None:
        (self._folder / name).touch()

    def hints(self) -> int:
        """Return how many messages lie in the broker's list of this node."""
        with client(url_of(Home(self._node.home))) as redis:
            return int(redis.llen("node.n1"))

    def results(self) -> dict[str, dict[str, Any]]:
        """Return all results but the teller's; a scheduled run is none of them."""
        return dict(zip(self.ids, self._there(results_of, list(self.ids.values())), strict=True))

    def told(self) -> dict[str, Any]:
        return self._there(results_of, [self.teller])[0]

    def tellers(self) -> list[str]:
        return (self._folder / "tellers").read_text().split()

    def _now(self) -> list[str]:
        return self.effects.command(0)

    def _until(self, name: str, *habits: str, code: int = 0) -> list[str]:
        return self.effects.command(0, code=code, habits=(*habits, f"until:{self._folder / name}"))

    def _waits(self, name: str) -> str:
        return f"while [ ! -e {self._folder / name} ]; do sleep 0.05; done"

    def _started(self, run: str) -> bool:
        return bool(self.effects.stamps("start", run))


def ask_to_stop(node: WholeNode) -> None:
    """As launchd, systemd and `infra down --keep` do it."""
    os.kill(node.watcher_pid(), signal.SIGTERM)
    eventually(lambda: node.watcher_pid() is None, 60, "the watcher ends")
    assert not [role for role in ROLES if node.role_pid(role)]


def kill_all(node: WholeNode) -> None:
    node.kill("watcher", *ROLES, "children")
    eventually(lambda: not [role for role in ROLES if node.role_pid(role)], 60, "all are dead")


def stop_then_replace(node: WholeNode) -> None:
    ask_to_stop(node)
    shutil.rmtree(node.code)
    node.take_code(ROOT)


def kill_then_replace(node: WholeNode) -> None:
    kill_all(node)
    shutil.rmtree(node.code)
    node.take_code(ROOT)


def replace_then_stop(node: WholeNode) -> None:
    """An installer changes the files under a node that is up, one folder after the other."""
    remove_package(node.code)
    copy_package(node.code, NEW)
    ask_to_stop(node)


@pytest.mark.parametrize("upgrade", [stop_then_replace, kill_then_replace, replace_then_stop])
def test_whatever_the_old_version_was_at_ends_right_and_once_under_the_new_one(
    upgrade: Callable[[WholeNode], None], node: WholeNode, there: caller.Caller, tmp_path: Path
):
    said = node.infra("schedule", "add", "beacon", "--every", "2s", "--", *Effects(tmp_path / "beacon").command(0))
    assert said.returncode == 0, said.stderr
    load = Load(node, there, tmp_path)
    eventually(load.hints, 30, "hints lie in the broker")
    upgrade(node)
    load.go("deserted")  # nobody of ours is there, and no file of its shim's version
    eventually((node.home / "runs" / load.ids["deserted"] / "1" / "exit.json").exists, 30, "its end is on the disk")
    node.up()
    eventually(lambda: versions(node) == {"n1": NEW}, 30, "the ledger knows the new version")
    for name in ("tell", "parent", "chain"):
        load.go(name)
    results = load.results()
    assert {name: one["exit_code"] for name, one in results.items() if one["exit_code"]} == {"deserted": 4}
    assert {name: one["reason"] for name, one in results.items() if one["reason"]} == {
        "deserted": "exit_code",
        "endless": "timeout",
    }
    assert {one["attempt"] for one in results.values()} == {1}
    assert {one["survivors"] for one in results.values()} == {0}
    assert results["endless"]["duration_s"] >= LIMIT_S
    assert sorted(one.run for one in load.effects.stamps("start")) == sorted(load.ids.values())
    assert_told_whole(node, load)
    assert_schedule_goes_on(node, Effects(tmp_path / "beacon"))
    assert not node.run_processes()
    audit = node.infra("audit")
    assert audit.returncode == 0, audit.stdout + audit.stderr


def versions(node: WholeNode) -> dict[str, str]:
    return {seen["name"]: seen["version"] for seen in json.loads(node.infra("nodes", "--json").stdout)}


def live(node: WholeNode) -> list[dict[str, Any]]:
    return [run for state in LIVE for run in json.loads(node.infra("runs", "--state", state, "--json").stdout)]


def assert_told_whole(node: WholeNode, load: Load) -> None:
    result = load.told()
    assert (result["state"], result["attempt"], len(load.tellers())) == ("SUCCESS", 1, 1)
    wanted = [f"line {n} of a long story" for n in range(LINES)] * 2
    assert node.infra("logs", load.teller).stdout.splitlines() == wanted


def assert_schedule_goes_on(node: WholeNode, beacon: Effects) -> None:
    """It fires anew, and no slot of it has two runs."""
    fired = len(beacon.stamps("end"))
    eventually(lambda: len(beacon.stamps("end")) > fired, 60, "the schedule fires")
    assert node.infra("schedule", "remove", "beacon").returncode == 0
    eventually(lambda: not live(node), 60, "none waits, and none has yet to say that it started")
    runs = json.loads(node.infra("runs", "--name", "beacon", "--limit", "1000", "--json").stdout)
    slots = [run["slot"] for run in runs]
    assert len(set(slots)) == len(slots)
    assert sorted(one.run for one in beacon.stamps("start")) == sorted(run["id"] for run in runs if run["attempt"])
