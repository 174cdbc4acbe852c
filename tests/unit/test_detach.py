"""How long `infra up --detach` waits for a node whose roles come up one after the other."""

from __future__ import annotations

from workers.detach import StartPatience


def test_a_slow_start_is_waited_for_as_long_as_it_gets_on():
    patience = StartPatience(within_s=60, until=60)
    moments = [(0, 59), (1, 60), (1, 119), (2, 120), (3, 179), (3, 239)]
    assert not any(patience.is_over(up, now) for up, now in moments)


def test_a_start_that_does_not_get_on_is_given_up():
    patience = StartPatience(within_s=60, until=60)
    assert not patience.is_over(1, 10)
    assert not patience.is_over(1, 70)
    assert patience.is_over(1, 70.1)


def test_a_role_that_dies_and_comes_again_is_no_progress():
    patience = StartPatience(within_s=60, until=60)
    assert not patience.is_over(2, 10)
    assert not patience.is_over(1, 20)
    assert not patience.is_over(2, 30)
    assert patience.is_over(2, 71)
