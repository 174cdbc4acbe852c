"""What the ledger wants of an attempt, as orders for its shim."""

from __future__ import annotations

from typing import Any

import pytest

from infra_tasks.model.spec import RunSpec
from workers.orders import orders_for, stop_moment

RECORD: dict[str, Any] = {
    "timeout_s": 100.0,
    "fields": {"spec": RunSpec.of({"command": ["true"], "stop_after_s": 60}).to_json()},
}


@pytest.mark.parametrize("stop_after_s", [0.5, 3, 7, 60, 3600])
@pytest.mark.parametrize("sent_at", [0.0, 101.0, 4.999, 123456.7])
def test_a_renewed_lease_never_stops_a_healthy_command_and_never_lasts_too_long(sent_at, stop_after_s):
    moment = stop_moment(sent_at, stop_after_s)
    assert sent_at + 0.85 * stop_after_s < moment <= sent_at + stop_after_s


def test_the_stop_moment_moves_in_steps_so_that_no_file_is_written_each_second():
    assert len({stop_moment(1000 + second, 60) for second in range(20)}) <= 5


def test_a_fenced_attempt_is_killed_at_once():
    assert orders_for({"fenced": True}, RECORD, 0) == {"stop": "fenced", "kill": True}


def test_a_cancel_leaves_grace_and_a_kill_does_not():
    assert orders_for({"cancel": "asked"}, RECORD, 0) == {"stop": "cancel", "kill": False}
    assert orders_for({"cancel": "kill"}, RECORD, 0) == {"stop": "cancel", "kill": True}


def test_only_another_limit_is_told():
    assert orders_for({"timeout_s": 100.0}, RECORD, 0) == {}
    assert orders_for({"timeout_s": 160.0}, RECORD, 0) == {"timeout_s": 160.0}


def test_an_attempt_the_ledger_is_unsure_of_is_left_alone():
    assert orders_for({"unsure": True}, RECORD, 0) == {}
    assert orders_for({}, RECORD, 0) == {}


def test_a_drain_that_has_reached_its_deadline_leaves_grace_and_a_cancel_comes_first():
    assert orders_for({"down": True}, RECORD, 0) == {"stop": "down"}
    assert orders_for({"down": True, "cancel": "asked"}, RECORD, 0) == {"stop": "cancel", "kill": False}
    assert orders_for({"down": False}, RECORD, 0) == {}
