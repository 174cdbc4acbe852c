"""When a tree must stop and when grace ends: pure decisions."""

from __future__ import annotations

import math

import pytest

from infra_tasks.runner.limits import kill_at, limits, outcome_due

RECORD = {"timeout_s": 100, "grace_s": 10, "stop_at": None}


def test_without_orders_the_record_holds():
    bound = limits(RECORD, {}, started_boot=1000.0)
    assert (bound.limit_at, bound.stop_at, bound.grace_s) == (1100, math.inf, 10)
    assert outcome_due(1099.9, bound) is None
    assert outcome_due(1100, bound) == "timeout"


def test_the_stop_moment_of_the_record_is_replaced_by_that_of_an_order():
    record = {**RECORD, "stop_at": 1050}
    assert outcome_due(1050, limits(record, {}, 1000.0)) == "lease"
    assert outcome_due(1050, limits(record, {"stop_at": 1060}, 1000.0)) is None
    assert outcome_due(1050, limits(record, {"stop_at": None}, 1000.0)) == "lease"


@pytest.mark.parametrize(("stop", "outcome"), [("cancel", "cancelled"), ("fenced", "fenced"), ("down", "down")])
def test_an_order_comes_before_a_limit(stop, outcome):
    assert outcome_due(5000, limits(RECORD, {"stop": stop}, 1000.0)) == outcome


def test_kill_alone_is_a_cancel_without_grace():
    bound = limits(RECORD, {"kill": True}, 1000.0)
    assert outcome_due(1001, bound) == "cancelled"
    assert kill_at(1001, bound) <= 1001


def test_who_was_asked_late_gets_less_grace_and_never_a_later_end():
    bound = limits({**RECORD, "stop_at": 1050}, {}, 1000.0)
    assert kill_at(1020, bound) == 1030
    assert kill_at(1055, bound) == 1060
    assert kill_at(5000, bound) == 1060


@pytest.mark.parametrize("rubbish", ["soon", True, [], {}, math.nan])
def test_what_is_no_number_changes_nothing(rubbish):
    assert limits(RECORD, {"timeout_s": rubbish, "stop_at": rubbish}, 1000.0) == limits(RECORD, {}, 1000.0)
