from __future__ import annotations

import pytest

from workers.policy import (
    LIVING,
    Claimant,
    Decision,
    Life,
    Order,
    Patience,
    Seen,
    State,
    adopted,
    asked_to_stop,
    buried,
    decide,
    delay_s,
    forgave_gap,
    started,
)
from workers.roles import REDIS

NOW = 1000.0
PATIENCE = Patience(boot_s=60, silence_s=20, stop_s=10)


def life(state: State, since: float = NOW - 5, pulse_at: float = NOW - 1, **more: float) -> Life:
    return Life(state=state, since=since, pulse_at=pulse_at, born_at=since, **more)


def decided(life_: Life, order: Order = Order.RUN, now: float = NOW, **seen: object) -> Decision:
    return decide(PATIENCE, life_, Seen(**{"alive": True, "pulse": False, **seen}), order, now)


def test_a_waiting_role_starts_when_its_turn_has_come():
    assert decided(life(State.WAITING), alive=False) is Decision.START
    assert decided(life(State.WAITING), alive=False, may_start=False) is Decision.NOTHING


def test_a_dead_role_waits_out_its_backoff_and_starts_then():
    waits = life(State.BACKOFF, next_try_at=NOW + 1)
    assert decided(waits, alive=False) is Decision.NOTHING
    assert decided(waits, alive=False, now=NOW + 1) is Decision.START


@pytest.mark.parametrize("state", sorted(set(State) - LIVING))
@pytest.mark.parametrize("order", list(Order))
def test_a_living_role_of_an_earlier_watcher_is_adopted_whatever_is_wanted(state: State, order: Order):
    assert decided(life(state), order, claimant=Claimant.ROLE, may_start=False) is Decision.ADOPT


def test_leftovers_of_a_dead_role_are_cleared_before_it_starts_again():
    assert decided(life(State.BACKOFF), alive=False, claimant=Claimant.LEFTOVER) is Decision.CLEAR


def test_nothing_is_started_beside_a_holder_that_has_not_said_who_it_is():
    assert decided(life(State.BACKOFF), alive=False, claimant=Claimant.UNKNOWN) is Decision.NOTHING


@pytest.mark.parametrize("state", sorted(LIVING))
def test_a_death_is_noticed_in_every_living_state(state: State):
    assert decided(life(state), alive=False) is Decision.BURY


def test_the_first_heartbeat_makes_a_role_ready():
    assert decided(life(State.STARTING), pulse=True) is Decision.CALL_READY
    assert decided(life(State.STARTING)) is Decision.NOTHING


def test_a_redis_that_loads_its_data_is_neither_ready_nor_silent():
    loading = life(State.STARTING, pulse_at=NOW - 300)
    assert decided(loading, pulse=True, serves=False) is Decision.NOTHING


def test_a_role_is_silent_after_its_own_time_and_not_before():
    assert decided(life(State.RUNNING, pulse_at=NOW - 20)) is Decision.NOTHING
    assert decided(life(State.RUNNING, pulse_at=NOW - 20.1)) is Decision.ASK_STOP
    assert decided(life(State.RUNNING, pulse_at=NOW - 20.1), pulse=True) is Decision.NOTHING


def test_a_starting_role_has_longer_until_its_first_heartbeat():
    assert decided(life(State.STARTING, pulse_at=NOW - 59)) is Decision.NOTHING
    assert decided(life(State.STARTING, pulse_at=NOW - 61)) is Decision.ASK_STOP


def test_the_time_in_which_the_watcher_itself_slept_is_not_silence():
    assert decided(forgave_gap(life(State.RUNNING, pulse_at=NOW - 100), 90)) is Decision.NOTHING


def test_who_was_asked_to_stop_is_killed_at_its_deadline_and_again_until_it_is_gone():
    asked = asked_to_stop(life(State.RUNNING), NOW, silent=False)
    assert decided(asked, now=NOW + 9.9) is Decision.NOTHING
    assert decided(asked, now=NOW + 10) is Decision.KILL
    assert decided(life(State.KILLING, since=NOW), now=NOW + 0.5) is Decision.NOTHING
    assert decided(life(State.KILLING, since=NOW), now=NOW + 1) is Decision.KILL


def test_a_silent_role_gets_less_time_to_stop():
    assert decided(asked_to_stop(life(State.RUNNING), NOW, silent=True), now=NOW + 5) is Decision.KILL


def test_while_stopping_the_others_go_on_but_nothing_is_started():
    assert decided(life(State.RUNNING), Order.HOLD) is Decision.NOTHING
    assert decided(life(State.BACKOFF), Order.HOLD, alive=False) is Decision.REST
    assert decided(life(State.WAITING), Order.STOP, alive=False) is Decision.REST
    assert decided(life(State.STOPPED), Order.STOP, alive=False) is Decision.NOTHING
    assert decided(life(State.RUNNING), Order.STOP) is Decision.ASK_STOP


def test_a_role_that_runs_by_an_old_plan_is_renewed_at_once():
    assert decided(life(State.RUNNING), Order.RENEW) is Decision.ASK_STOP
    gone = buried(asked_to_stop(life(State.RUNNING), NOW, silent=False), NOW, Order.RENEW, 0.5)
    assert decided(gone, Order.RUN, alive=False) is Decision.START


def test_the_first_try_comes_within_a_second_and_later_ones_ever_later_up_to_half_a_minute():
    delays = [delay_s(deaths, luck=0.5) for deaths in range(1, 9)]
    assert delays == [0.1, 1, 2, 4, 8, 16, 30, 30]
    assert delay_s(4, luck=0.0) == 3
    assert delay_s(4, luck=1.0) == 5
    assert delay_s(500, luck=1.0) == 30


def test_a_redis_that_died_many_times_is_tried_again_within_seconds():
    longest_s = REDIS.patience.longest_delay_s
    gone = buried(life(State.RUNNING, since=NOW - 1, deaths=50), NOW, Order.RUN, 1.0, longest_s)
    assert decided(gone, Order.RUN, alive=False, now=NOW + 4.9) is Decision.NOTHING
    assert decided(gone, Order.RUN, alive=False, now=NOW + 5) is Decision.START


def test_a_role_that_dies_at_once_is_counted_and_one_that_lived_a_minute_is_forgiven():
    fresh = life(State.RUNNING, since=NOW - 1, deaths=3)
    assert buried(fresh, NOW, Order.RUN, 0.5).deaths == 4
    assert buried(life(State.RUNNING, since=NOW - 60, deaths=9), NOW, Order.RUN, 0.5).deaths == 1
    assert buried(life(State.RUNNING, since=NOW - 25, deaths=3), NOW, Order.RUN, 0.5).deaths == 2


def test_a_killed_silent_role_counts_as_a_death_but_a_stop_on_purpose_does_not():
    silent = asked_to_stop(life(State.RUNNING, since=NOW - 1), NOW, silent=True)
    assert buried(silent, NOW, Order.RUN, 0.5).deaths == 1
    assert buried(asked_to_stop(life(State.RUNNING), NOW, silent=False), NOW, Order.RUN, 0.5).deaths == 0


def test_a_role_that_was_told_to_stop_stays_stopped():
    asked = asked_to_stop(life(State.RUNNING), NOW, silent=False)
    assert buried(asked, NOW, Order.STOP, 0.5).state is State.STOPPED


def test_start_and_adoption_begin_a_new_silence():
    old = life(State.BACKOFF, pulse_at=0)
    assert started(old, NOW) == Life(State.STARTING, NOW, NOW, born_at=NOW)
    assert adopted(old, NOW) == Life(State.RUNNING, NOW, NOW, born_at=NOW)
