"""The limit holds with all of us dead: worker, children, agent, watcher, control, Redis (G4)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from attempts import is_alive
from waiting import eventually
from whole_node import ROLES

if TYPE_CHECKING:
    from collections.abc import Callable

    from effects import Caller, Effects
    from whole_node import WholeNode

pytestmark = pytest.mark.chaos

LIMIT_S, GRACE_S = 12.0, 1.0
"""Long enough to kill everybody meanwhile, on a busy machine as well."""
EVERYBODY = ("watcher", "worker", "children", "agent", "control", "redis", "beat", "flower")


def test_nothing_of_a_run_lives_past_its_limit_though_all_that_minds_it_is_dead(
    node: WholeNode, effects: Effects, call: Callable[..., Caller]
):
    caller = call({"command": effects.command(600, habits=("child", "deaf")), "timeout_s": LIMIT_S, "grace_s": GRACE_S})
    (begun,) = eventually(lambda: effects.stamps("start"), 30, "it runs")
    (child,) = eventually(lambda: effects.stamps("child"), 10, "it has a child")
    node.kill(*EVERYBODY)
    eventually(lambda: not any(node.role_pid(role) for role in ROLES), 10, "no role lives")
    assert is_alive(begun.pid)
    eventually(lambda: not node.run_processes(), 30, "all of it is gone")
    assert not any(is_alive(one.pid) for one in (begun, child))
    assert not any(node.role_pid(role) for role in ROLES), "somebody minded it"
    assert not effects.stamps("end"), "it came to its own end"
    node.up()
    (result,) = caller.results()
    assert (result["state"], result["reason"], result["attempt"]) == ("FAILURE", "timeout", 1)
    assert result["survivors"] == 0
    assert result["duration_s"] >= LIMIT_S
    assert len(effects.stamps("start")) == 1
