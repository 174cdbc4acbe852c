"""Three nodes in networks of their own whose links are cut while code is on its way: brought later, and never half."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from caller import Caller
from waiting import eventually

pytestmark = pytest.mark.fleet

DIGEST = Path(__file__).parent.parent / "tree_digest.py"
SEES = ["python3", "tree_digest.py"]
SLOW_KIB_PER_S = 500


def accept(spec):
    from infra_tasks import run_spec

    return run_spec.delay(spec).id


def get(run_id, within_s=240):
    from infra_tasks import run_spec

    return run_spec.AsyncResult(run_id).get(timeout=within_s)


@pytest.fixture(scope="module")
def call(apart):
    one = Caller(apart["n1"].env)
    yield one
    one.close()


@pytest.fixture(scope="module")
def book(apart):
    opened = apart["n1"].ledger()
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def source(apart, tmp_path_factory):
    place = tmp_path_factory.mktemp("source")
    shutil.copy(DIGEST, place)
    (place / "code.txt").write_text("old\n")
    apart.write(app=place)
    return place


@pytest.fixture(autouse=True)
def _healed(apart):
    yield
    for name, node in apart.nodes.items():
        apart.network.heal(name)
        node.rsync.does()


def sees_what_its_result_says(call, run_id, node):
    result = call(get, run_id, within_s=240)
    assert (result["state"], result["node"]) == ("SUCCESS", node)
    assert result["stdout_tail"].strip() == result["release"]
    return result["release"]


def new_code(source, size=0):
    (source / "code.txt").write_bytes(os.urandom(16))
    (source / "big").write_bytes(os.urandom(size))


def was_pushed(source, call, book, node):
    """Say whether new code went to a node at dispatch: one that was away is not asked again for some seconds."""
    new_code(source)
    digest = sees_what_its_result_says(call, call(accept, {"command": SEES, "project": "app", "node": node}), node)
    return any((one.why, one.node, one.release) == ("dispatch", node, digest) for one in book.code.syncs())


@pytest.mark.parametrize("how", ["cut", "deafen"])
def test_a_node_that_is_cut_off_at_dispatch_gets_its_code_and_its_run_when_it_is_back(apart, source, call, book, how):
    first = sees_what_its_result_says(call, call(accept, {"command": SEES, "project": "app", "node": "n2"}), "n2")
    new_code(source)
    getattr(apart.network, how)("n2")
    run_id = call(accept, {"command": SEES, "project": "app", "node": "n2"})
    eventually(lambda: book.runs.peek(run_id)[0] == "QUEUED", 90, "its code is kept and it waits")
    assert first in apart["n2"].releases("app")
    apart.network.heal("n2")
    assert sees_what_its_result_says(call, run_id, "n2") != first


def test_a_link_cut_half_way_and_healed_ends_in_the_right_code(apart, source, call, book):
    eventually(lambda: was_pushed(source, call, book, "n2"), 90, "n2 is within reach")
    held_before = apart["n2"].releases("app")
    new_code(source, size=3_000_000)
    apart["n1"].rsync.slow(SLOW_KIB_PER_S)
    shelf = apart["n2"].home / "projects" / "app" / "releases"
    run_id = call(accept, {"command": SEES, "project": "app", "node": "n2"})
    eventually(lambda: [one for one in shelf.glob(".building-*/.big.*") if one.stat().st_size], 60, "half way")
    apart.network.cut("n2")
    apart["n1"].rsync.does()
    eventually(lambda: not apart["n1"].rsync.running(apart["n1"].role_pid("control")), 60, "its rsync gave up")
    assert held_before == apart["n2"].releases("app")
    apart.network.heal("n2")
    sees_what_its_result_says(call, run_id, "n2")
    eventually(lambda: not apart["n2"].leftovers(), 60, "nothing half is left")


def test_where_the_source_is_cut_off_another_holder_gives_the_code(apart, source, call, book, tmp_path):
    new_code(source)
    held = sees_what_its_result_says(call, call(accept, {"command": SEES, "project": "app", "node": "n2"}), "n2")
    eventually(lambda: "n2" in book.code.holders("app", held), 60, "the ledger knows that n2 holds it")
    blocks = {"command": f"touch {tmp_path}/up.$$; while [ ! -e {tmp_path}/go ]; do sleep 0.05; done"}
    blockers = [call(accept, {**blocks, "node": node}) for node in ("n2", "n2", "n3", "n3")]
    eventually(lambda: len(list(tmp_path.glob("up.*"))) == 4, 30, "n2 and n3 are full")
    waiting = call(accept, {"command": SEES, "project": "app", "labels": ["far"]})
    eventually(lambda: book.runs.peek(waiting)[0] == "QUEUED", 30, "its code is fixed")
    apart.network.cut("n1")
    for run_id in blockers[2:]:
        book.runs.cancel(run_id)
    assert sees_what_its_result_says(call, waiting, "n3") == held
    apart.network.heal("n1")
    (tmp_path / "go").touch()
    assert [call(get, run_id)["state"] for run_id in blockers[:2]] == ["SUCCESS"] * 2


def test_a_pool_run_whose_node_is_cut_off_while_it_fetches_ends_right(apart, source, call, book):
    new_code(source, size=3_000_000)
    for name in ("n2", "n3"):
        apart[name].rsync.slow(SLOW_KIB_PER_S)
    run_id = call(accept, {"command": SEES, "project": "app", "labels": ["far"]})
    shelves = {name: apart[name].home / "projects" / "app" / "releases" for name in ("n2", "n3")}

    def fetching():
        return [name for name, shelf in shelves.items() if any(shelf.glob(".building-*/.big.*"))]

    node = eventually(fetching, 60, "one of them fetches")[0]
    apart.network.cut("n1")
    for name in ("n2", "n3"):
        apart[name].rsync.does()
    eventually(lambda: not apart[node].rsync.running(apart[node].role_pid("worker")), 60, "its rsync gave up")
    apart.network.heal("n1")
    result = call(get, run_id, within_s=240)
    assert result["stdout_tail"].strip() == result["release"]
