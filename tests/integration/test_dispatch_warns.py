"""Who sends more than is usually meant is warned before it goes, wherever it goes."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
from waiting import eventually

from infra_tasks.dispatch import dispatch
from infra_tasks.ledger.code import HeldRelease
from infra_tasks.model import weight
from infra_tasks.node import this_node
from infra_tasks.submit import submit

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from far_node import FarNode
    from redis_process import RedisProcess
    from rsync_on_path import RsyncOnPath

    from infra_tasks.ledger import Ledger
    from infra_tasks.node import ThisNode

A_LOT = "4 files, 21 B of p go to n2, which is a lot"


@pytest.fixture
def me(far: FarNode, redis_process: RedisProcess, monkeypatch: pytest.MonkeyPatch) -> Iterator[ThisNode]:
    """The near node, whose project of four files is more than is usually meant."""
    monkeypatch.setattr(weight, "MANY_FILES", 3)
    assert far.me
    home = far.yard.home
    home.nodes_json.write_text(json.dumps({**json.loads(home.nodes_json.read_text()), "broker": redis_process.url}))
    yield this_node(home)
    from infra_tasks.releases.remote.lines import lines_of

    lines_of(home).close()


def submitted(me: ThisNode, ledger: Ledger) -> str:
    return submit(ledger, me.fleet, {"command": "true", "project": "p", "node": "n2"})


def story(ledger: Ledger, run: str) -> list[str]:
    return [each.cause for each in ledger.runs.events(run)]


def test_the_warning_is_there_while_the_files_are_still_on_their_way(
    me: ThisNode, ledger: Ledger, rsync: RsyncOnPath, tmp_path: Path
):
    rsync.does(f"while [ ! -e {tmp_path}/go ]; do sleep 0.05; done")
    run = submitted(me, ledger)
    with ThreadPoolExecutor(1) as beside:
        going = beside.submit(dispatch, me, ledger, run)
        try:
            eventually(lambda: A_LOT in str(story(ledger, run)) or going.done(), 60, "it is in the story")
            assert not going.done()
            waiting = ledger.runs.get(run)
            assert waiting is not None
            assert (waiting.state, A_LOT in waiting.fields["warning"]) == ("SYNCING", True)
        finally:
            (tmp_path / "go").touch()
        assert going.result(180).said.startswith("queued")
    again = submitted(me, ledger)
    dispatch(me, ledger, again)
    assert "a lot" not in str(story(ledger, again)), "nothing went a second time"


def test_a_node_that_is_away_will_fetch_as_much_and_that_is_said_unless_it_holds_it(
    me: ThisNode, ledger: Ledger, far: FarNode
):
    far.server.kill()
    try:
        run, again = submitted(me, ledger), submitted(me, ledger)
        ready = dispatch(me, ledger, run).ready
        assert ready is not None
        assert A_LOT in str(story(ledger, run))
        ledger.code.publish_releases("n2", [HeldRelease(ready.digest, "p", 0, 0, 4, 21, in_use=False)])
        dispatch(me, ledger, again)
        assert "a lot" not in str(story(ledger, again))
    finally:
        far.server.restart()
