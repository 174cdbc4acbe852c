"""What every earlier version left - hints, records, a whole ledger and node folder - is taken up by the present one.

`docs/upgrade.md` says what a set is, and what to do when one has to be added.
"""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

import pytest
from golden_node import SETS, load, make_set, settle, versions
from golden_shape import changes, shapes
from redis_process import RedisProcess
from waiting import eventually
from whole_node import ROLES, WholeNode

from infra_tasks.ledger.connect import client
from infra_tasks.runner.attempt import Attempt
from infra_tasks.runner.clock import boot_id

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = pytest.mark.fleet

FUTURE = "from_the_future"
# What each run comes to: state, attempt, exit code.
ENDS = {
    "queued": ("SUCCESS", 1, 0),
    "pool": ("SUCCESS", 1, 0),
    "first": ("SUCCESS", 1, 0),
    "second": ("SUCCESS", 1, 0),
    "later": ("SUCCESS", 1, 0),
    "foreign": ("SUCCESS", 1, 0),
    "again": ("FAILURE", 2, 3),
    "ended": ("FAILURE", 1, 4),
    "running": ("SUCCESS", 2, 0),
    "leased": ("SUCCESS", 2, 0),
    "extended": ("SUCCESS", 2, 0),
}
BEFORE = {
    "full": ("SUCCESS", 1, 0),
    "outputs": ("SUCCESS", 1, 0),
    "project": ("SUCCESS", 1, 0),
    "buried": ("SUCCESS", 2, 0),
    "cancelled": ("REVOKED", 1, None),
}


def as_written(_folder: Path, dump: dict[str, Any]) -> dict[str, Any]:
    return dump


def with_more(folder: Path, dump: dict[str, Any]) -> dict[str, Any]:
    """Add to every record what only a newer version could have written."""
    for file in [*(folder / "home").glob("runs/*/*/*.json"), *(folder / "home" / "roles").glob("*.json")]:
        file.write_text(json.dumps(json.loads(file.read_text()) | {FUTURE: {"x": [1]}}))
    for name in ("node.json", "watcher.json"):
        file = folder / "home" / name
        file.write_text(json.dumps(json.loads(file.read_text()) | {FUTURE: 1}))
    for key, one in dump.items():
        if key.startswith(("infra:run:", "infra:node:")) and one["type"] == "hash":
            one["value"][FUTURE] = "1"
        if key.startswith("infra:story:"):
            one["value"] = [json.dumps(json.loads(text) | {FUTURE: 1}) for text in one["value"]]
        if key == "infra:slots":
            one["value"] = {name: json.dumps(json.loads(text) | {FUTURE: 1}) for name, text in one["value"].items()}
    dump[f"infra:{FUTURE}"] = {"type": "hash", "value": {"a": "b"}}
    return dump


@pytest.fixture
def lay_out(tmp_path: Path) -> Iterator[Callable[..., WholeNode]]:
    """Give a node over a set: its Redis holds what the set's held."""
    redis = RedisProcess(tmp_path / "redis").start()
    node = WholeNode(tmp_path / "home")
    node.roles = ROLES[1:]

    def give(version: str, change: Callable[..., dict[str, Any]]) -> WholeNode:
        dump = change(tmp_path, settle(SETS / version, tmp_path))
        start_anew(tmp_path)
        fleet = json.loads((node.home / "nodes.json").read_text())
        node.put_fleet({**fleet, "broker": redis.url})
        for key in {"infra:moments", "infra:pauses"} & dump.keys():
            dump[key]["value"] = [[run, 0] for run, _ in dump[key]["value"]]  # they have come
        with client(redis.url) as empty:
            load(empty, dump)
        (tmp_path / "go").touch()
        return node

    try:
        yield give
    finally:
        print(node.logs())  # noqa: T201  shown when a test fails
        node.close()
        redis.kill()


def start_anew(folder: Path) -> None:
    """Have the machine started since: on the one that wrote the set, what ran then would be over its limit by now."""
    for file in folder.glob("home/runs/*/*/*.json"):
        file.write_text(file.read_text().replace(boot_id(), "of-another-boot"))


def end_of(node: WholeNode, run: str) -> tuple[str, int, int | None] | None:
    """Return state, attempt and exit code of a run that has ended."""
    book = node.ledger()
    try:
        found = book.runs.get(f"golden-{run}")
    finally:
        book.close()
    if found is None or not found.final or found.result is None:
        return None
    return found.state, found.attempt, found.result["exit_code"]


def told(node: WholeNode, *words: str) -> Any:
    done = node.infra("--json", *words)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("change", [as_written, with_more])
@pytest.mark.parametrize("version", versions())
def test_a_node_goes_on_with_what_an_earlier_version_left(
    version: str, change: Callable[..., Any], lay_out: Callable[..., WholeNode]
):
    node = lay_out(version, change).up()
    for run, end in {**BEFORE, **ENDS}.items():
        assert eventually(lambda run=run: end_of(node, run), 120, f"{run} ends") == end
    assert node.infra("logs", "golden-ended").stdout == "first\nlast\n"
    assert node.infra("logs", "golden-full").stdout.startswith("out\n")
    assert told(node, "show", "golden-outputs")["outputs"]["count"] == 2
    assert told(node, "show", "golden-buried")["events"][-1]["to"] == "SUCCESS"
    assert told(node, "show", "golden-far")["state"] == "PENDING"  # the node with its source is not there
    assert {run["id"] for run in told(node, "runs", "--archived")} == {"golden-full", "golden-cancelled"}
    schedules = {one["name"]: bool(one["paused"]) for one in told(node, "schedule", "list")}
    assert schedules == {"beacon": False, "paused": True}
    again = told(node, "run", "--project", "p", "--node", "n1", "--", "cat", "code.txt", "made.txt")
    assert (again["state"], again["stdout_tail"]) == ("SUCCESS", "of the project\nmade\n")
    assert again["release"] == told(node, "show", "golden-project")["release"]
    audit = node.infra("audit")
    assert audit.returncode == 0, audit.stdout + audit.stderr


def test_orders_given_by_an_earlier_version_hold(tmp_path: Path):
    for version in versions():
        settle(SETS / version, tmp_path / version)
        runs = tmp_path / version / "home" / "runs"
        assert Attempt(runs / "golden-extended" / "1").orders()["timeout_s"] == 3660
        assert Attempt(runs / "golden-cancelled" / "1").orders()["stop"] == "cancel"
        assert Attempt(runs / "golden-leased" / "1").orders()["stop_at"] > 0
        assert Attempt(runs / "golden-buried" / "1").is_buried()
        shutil.rmtree(tmp_path / version, ignore_errors=True)


def test_this_version_writes_what_the_newest_set_holds(tmp_path: Path):
    """Who changes a format changes the newest set with it (`make golden`), and the ones before stay understood."""
    make_set(tmp_path / "node", tmp_path / "set")
    news = changes(shapes(SETS / versions()[-1]), shapes(tmp_path / "set"))
    assert not news, "\n".join([f"{len(news)} records are written in another shape; see docs/upgrade.md:", *news])
