"""What a strike notes of its cost, while it strikes."""

from __future__ import annotations

import subprocess
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from chaos.nemeses import KINDS
from chaos.nemeses.kind import Cost, Scene
from chaos.strikes import Strike

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(["sleep", "600"])
    yield process
    process.kill()
    process.wait()


@pytest.mark.parametrize(
    ("nodes", "part", "away"),
    [
        (("n1", "n2"), "agent", ["n1"]),
        (("n1", "n2"), "worker", []),
        (("n1",), "agent", []),
    ],
)
def test_a_node_is_away_while_its_agent_stands_still_if_others_may_take_what_it_has(
    tmp_path: Path, sleeper: subprocess.Popen[bytes], nodes: tuple[str, ...], part: str, away: list[str]
):
    scene = Scene(SimpleNamespace(nodes=nodes, pids=lambda _part, _node: [sleeper.pid]), tmp_path)
    thaw = KINDS["freeze-long"].inflict(scene, Strike(0.0, "freeze-long", "n1", part, 30.0))
    assert not scene.cost.away, "it is noted when it is over: from when until when"
    thaw()
    assert [one.node for one in scene.cost.away] == away


@pytest.mark.parametrize(
    ("kind", "target", "node"), [("freeze-long", "redis", ""), ("freeze-long", "worker", "n1"), ("redis-kill", "", "")]
)
def test_whoever_strikes_redis_strikes_every_node(kind: str, target: str, node: str):
    cost = Cost()
    cost.was_struck(KINDS[kind], Strike(0.0, kind, "n1", target, 1.0))
    assert [one.node for one in cost.struck] == [node]
