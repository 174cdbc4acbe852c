"""kill -9 of everything of ours: what was accepted runs once, and its result reaches a caller that waits (G1, G6)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from effects import Caller, Effects
    from whole_node import WholeNode

pytestmark = pytest.mark.chaos

SLOTS = 2
VICTIMS = (
    ("worker",),
    ("children",),
    ("agent",),
    ("control",),
    ("redis",),
    ("watcher",),
    ("watcher", "worker", "children", "agent", "control", "redis", "beat", "flower"),
)


def break_and_mend(node: WholeNode, victims: tuple[str, ...]) -> None:
    node.kill(*victims)
    if "watcher" in victims:
        node.up()


def assert_all_went_right(caller: Caller, effects: Effects, node: WholeNode, codes: list[int]) -> list[dict[str, Any]]:
    results = caller.results()
    assert [one["exit_code"] for one in results] == codes
    assert [one["state"] for one in results] == ["FAILURE" if code else "SUCCESS" for code in codes]
    assert [one["stdout_tail"] for one in results] == [f"said by {run}\n" for run in caller.accepted()]
    assert sorted(one.run for one in effects.stamps("start")) == sorted(caller.accepted())
    assert effects.most_at_once() <= SLOTS
    assert not node.run_processes()
    return results


@pytest.mark.parametrize("victims", VICTIMS, ids="+".join)
def test_what_runs_and_what_waits_ends_once_and_is_told_though_our_processes_were_killed(
    victims: tuple[str, ...], node: WholeNode, effects: Effects, call: Callable[..., Caller]
):
    specs = [
        {"command": effects.command(seconds, code=code)} for seconds, code in ((2.2, 0), (1.8, 3), (0.3, 0), (0.3, 4))
    ]
    caller = call(*specs)
    eventually(lambda: len(effects.stamps("start")) >= SLOTS, 30, "two commands run")
    break_and_mend(node, victims)
    results = assert_all_went_right(caller, effects, node, [0, 3, 0, 4])
    assert [one["attempt"] for one in results[:SLOTS]] == [1, 1]  # what ran was not even looked at again


@pytest.mark.parametrize("victims", VICTIMS, ids="+".join)
def test_a_run_that_is_just_being_started_is_started_once_though_our_processes_were_killed(
    victims: tuple[str, ...], node: WholeNode, effects: Effects, call: Callable[..., Caller]
):
    caller = call(*[{"command": effects.command(0.4, code=code)} for code in (0, 3, 0)])
    eventually(caller.accepted, 30, "the first is accepted")
    break_and_mend(node, victims)
    assert_all_went_right(caller, effects, node, [0, 3, 0])
