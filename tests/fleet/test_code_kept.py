"""The check of code on whole nodes: beat's tick reaches each node, and each makes right what it holds, over ssh."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from caller import Caller
from three_nodes import ThreeNodes
from waiting import eventually
from yard import spoil, tree

from beat_schedule import SCHEDULE
from infra_tasks import releases
from infra_tasks.releases import known
from infra_tasks.releases.layout import Shelf
from infra_tasks.releases.snapshot import recall
from infra_tasks.releases.walk import row
from infra_tasks.settings import Home

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from infra_tasks.ledger import Ledger
    from infra_tasks.ledger.code import SyncEntry

pytestmark = pytest.mark.fleet


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ThreeNodes]:
    folder = tmp_path_factory.mktemp("checked")
    (folder / "source").mkdir()
    (folder / "source" / "code.txt").write_text("right")
    made = ThreeNodes(folder)
    try:
        made.write(p=folder / "source")
        yield made.up()
    finally:
        print(made.logs())  # noqa: T201  shown when a test fails
        made.close()


@pytest.fixture(scope="module")
def call(three: ThreeNodes) -> Iterator[Caller]:
    one = Caller(three["n1"].env)
    yield one
    one.close()


@pytest.fixture
def book(three: ThreeNodes) -> Iterator[Ledger]:
    opened = three["n1"].ledger()
    yield opened
    opened.close()


@pytest.fixture
def digest(call: Caller, book: Ledger) -> str:
    """The release of a run on n2: n2 and n1 hold it."""
    found = str(call(run_on_n2)["release"])
    eventually(lambda: book.code.holders("p", found) == ["n1", "n2"], 60, "both agents tell of it")
    return found


def run_on_n2():
    from infra_tasks import run_spec

    return run_spec.delay({"command": ["cat", "code.txt"], "project": "p", "node": "n2"}).get(timeout=180)


def tick(task, queue):
    from infra_tasks.app import app

    app.send_task(task, queue=queue)


def ask(node, project):
    from infra_tasks.tasks import ask_check

    ask_check(node, project)


def released(three: ThreeNodes, digest: str) -> Path:
    return three["n2"].home / "projects" / "p" / "releases" / digest


def rot(home: Path, digest: str) -> None:
    """Change a file so that no stat tells."""
    shelf = Shelf(Home(home), "p")
    manifest = recall(shelf, digest)
    assert manifest is not None
    spoil(shelf.tree(digest) / "code.txt", "wrong")
    found = row(shelf.tree(digest), "code.txt")
    known.note(shelf, {found.inode: known.fact(found, manifest.entries[0].sha256)})
    assert releases.verify(releases.Release(shelf, digest)).damaged == ()


def test_a_tick_has_every_node_make_right_what_it_holds(
    three: ThreeNodes, call: Caller, book: Ledger, digest: str, tmp_path: Path
):
    entry = SCHEDULE["check-code"]
    rot(three["n2"].home, digest)
    source = three["n1"].home.parent / "source" / "code.txt"
    source.write_text("moved on")
    call(tick, entry["task"], entry["options"]["queue"])
    line = eventually(lambda: checked(book, "n2", "mended"), 60, "n2 is right again")[0]
    assert (line.project, line.release, line.source, line.files) == ("p", digest, "n1", 1)
    assert (released(three, digest) / "code.txt").read_text() == "right"
    eventually(lambda: checked(book, "n1", "found right"), 60, "n1 checked as well")
    source.write_text("right")


def checked(book: Ledger, node: str, *said: str) -> list[SyncEntry]:
    """Return what checks of a node said, only these words if some are given."""
    return [one for one in book.code.syncs(node=node) if one.why == "check" and (not said or one.said in said)]


def test_what_should_be_there_is_fetched_from_another_node(three: ThreeNodes, call: Caller, book: Ledger, digest: str):
    place = released(three, digest)
    wanted = tree(place)
    place.chmod(0o755)
    place.rename(place.with_name("gone"))
    call(ask, "n2", "p")
    eventually(place.is_dir, 60, "the release is back")
    assert tree(place) == wanted
    line = eventually(lambda: checked(book, "n2", "brought"), 60, "it is said")[0]
    assert (line.release, line.source) == (digest, "n1")


def test_what_a_node_holds_is_told_with_its_size_and_whether_it_is_in_use(
    three: ThreeNodes, call: Caller, book: Ledger, digest: str
):
    [held] = [one for one in book.code.releases()["n2"] if one.digest == digest]
    assert (held.project, held.files, held.size_bytes) == ("p", 1, 5)
    now = book.nodes.now()
    assert all(now - 3600 < at <= now + 1 for at in (held.built_at, held.used_at))  # mending counts as building
    run = call(start_long)
    eventually(lambda: any(one.in_use for one in book.code.releases()["n2"]), 60, "something runs in it")
    book.runs.cancel(run)
    eventually(lambda: not any(one.in_use for one in book.code.releases()["n2"]), 60, "nothing runs in it any more")


def start_long():
    from infra_tasks import run_spec

    return run_spec.delay({"command": ["sleep", "347"], "project": "p", "node": "n2"}).id
