"""What a node's absence excuses in a storm, and from when on."""

from __future__ import annotations

from chaos.absences import LEAP_S, LOST_AFTER_S, STOPS_AFTER_S, TOLD_WITHIN_S, Away, absences, behind_a_lease
from chaos.checker import THAWED_S, Absence, Thaw

SHORT_S, MIDDLE_S, LONG_S = STOPS_AFTER_S - 1, LOST_AFTER_S - 1, LOST_AFTER_S + 1
UNTOLD = 10 - TOLD_WITHIN_S
"""What had ended since then may not have been told yet when its node went away for long, at 10."""


def test_what_was_too_short_for_a_shim_to_stop_its_command_excuses_nothing():
    assert absences([Away("n1", 10, 10 + SHORT_S), Away("n1", 10, 10 + SHORT_S, frozen=True)]) == ()


def test_a_cut_excuses_from_when_on_commands_stop_and_a_longer_one_all_of_it():
    assert absences([Away("n1", 10, 10 + MIDDLE_S)]) == (Absence("n1", 10 + STOPS_AFTER_S, 10 + MIDDLE_S),)
    assert absences([Away("n1", 10, 10 + LONG_S)]) == (Absence("n1", UNTOLD, 10 + LONG_S),)


def test_whoever_was_frozen_may_be_stopped_at_its_very_end_or_beginning():
    thawed = Absence("n1", 10, 10 + MIDDLE_S + THAWED_S)
    assert absences([Away("n1", 10, 10 + MIDDLE_S, frozen=True)]) == (thawed,)


def test_absences_of_one_node_that_touch_are_one():
    one_by_one = [Away("n1", 10, 10 + MIDDLE_S), Away("n2", 11, 12), Away("n1", 11 + MIDDLE_S, 11 + 2 * MIDDLE_S)]
    assert absences(one_by_one) == (Absence("n1", UNTOLD, 11 + 2 * MIDDLE_S),)
    apart = [Away("n1", 10, 10 + SHORT_S), Away("n1", 20 + SHORT_S, 20 + 2 * SHORT_S)]
    assert absences(apart) == ()
    within = [Away("n1", 10, 10 + LONG_S), Away("n1", 11, 12)]
    assert absences(within) == (Absence("n1", UNTOLD, 10 + LONG_S),)


def test_an_end_that_was_not_told_before_its_node_froze_for_long_is_excused_and_no_other():
    thawed = 10 + LONG_S + THAWED_S
    assert absences([Away("n1", 10, 10 + LONG_S, frozen=True)]) == (Absence("n1", UNTOLD, thawed),)


def test_a_lease_ends_earlier_when_the_clock_of_redis_is_turned_ahead_while_its_node_is_away():
    away_s = LOST_AFTER_S - LEAP_S + 1
    cut, frozen = Away("n1", 10, 10 + away_s), Away("n1", 10, 10 + away_s, frozen=True)
    assert absences([cut], leaps=[12]) == (Absence("n1", UNTOLD, 10 + away_s),)
    thaw = Thaw("n1", 10, 10 + away_s)
    assert behind_a_lease([thaw], [frozen], leaps=[12]) == (thaw,)
    for other in ([], [1], [100]):
        assert absences([cut], leaps=other) == (Absence("n1", 10 + STOPS_AFTER_S, 10 + away_s),)
        assert behind_a_lease([thaw], [frozen], leaps=other) == ()


def test_a_thaw_counts_when_its_node_was_away_for_longer_than_a_lease_by_all_that_kept_it_away():
    thaw = Thaw("n1", 10 + MIDDLE_S, 10 + MIDDLE_S + SHORT_S)
    frozen = Away(*thaw, frozen=True)
    assert behind_a_lease([thaw], [frozen]) == ()
    assert behind_a_lease([thaw], [Away("n2", 10, 10 + MIDDLE_S), frozen]) == ()
    assert behind_a_lease([thaw], [Away("n1", 10, 10 + MIDDLE_S), frozen]) == (thaw,)


def test_a_strike_in_which_a_long_cut_begins_counts_with_it_and_alone_excuses_nothing():
    cut = Away("n1", 10, 10 + LONG_S)
    assert absences([], [Away("n1", 5, 50)]) == ()
    assert absences([Away("n1", 10, 10 + SHORT_S)], [Away("n1", 5, 50)]) == ()
    for struck in (Away("n1", 4, 12), Away("", 4, 12)):
        assert absences([cut], [struck]) == (Absence("n1", 4, 10 + LONG_S),)
    for elsewhere in (Away("n2", 4, 12), Away("n1", 4, 9), Away("n1", 11, 12)):
        assert absences([cut], [elsewhere]) == (Absence("n1", UNTOLD, 10 + LONG_S),)
