"""How long somebody waits, and what is said when it was too long."""

from __future__ import annotations

import pickle
from threading import Event

import pytest

from infra_tasks.errors import BadInput, InfraError, StillGoing
from infra_tasks.limit import Limit, NobodyWaits


def over(going, timeout_s=90.0):
    now = [0.0]
    limit = Limit(timeout_s, clock=lambda: now[0])
    limit.waits_for(going)
    limit.check()
    now[0] = timeout_s
    return limit


def test_the_message_names_the_whole_limit_and_the_run_that_goes_on():
    with pytest.raises(StillGoing, match=r"^run r1 is still going after 90 s of waiting; it goes on$") as raised:
        over(["r1"]).check()
    assert raised.value.ids == ["r1"]
    assert isinstance(raised.value, TimeoutError)
    assert isinstance(raised.value, InfraError)


def test_of_many_runs_those_still_going_are_named():
    going = {f"r{n}": None for n in range(10)}
    limit = over(going)
    del going["r0"], going["r4"]
    with pytest.raises(StillGoing, match=r"8 of 10 runs .* 90 s of waiting: r1, r2, r3, r5, r6 and 3 more; they go on"):
        limit.check()


def test_a_pause_ends_with_the_limit():
    limit = over(["r1"])
    with pytest.raises(StillGoing):
        limit.pause(1e6)


def test_who_has_left_waits_no_more():
    left = Event()
    limit = Limit(left=left)
    limit.pause(0)
    left.set()
    with pytest.raises(NobodyWaits):
        limit.pause(1e6)


@pytest.mark.parametrize("wrong", [-1, float("nan"), float("inf"), True])
def test_a_limit_that_is_none_is_refused(wrong):
    with pytest.raises(BadInput, match="timeout_s"):
        Limit(wrong)


def test_the_error_travels_between_processes():
    sent = pickle.loads(pickle.dumps(StillGoing("too long", ["a"])))
    assert (str(sent), sent.ids) == ("too long", ["a"])
