"""What a node's absence excuses in a storm, and from when on."""

from __future__ import annotations

from chaos.absences import LOST_AFTER_S, STOPS_AFTER_S, Away, absences
from chaos.checker import THAWED_S, Absence

SHORT_S, MIDDLE_S, LONG_S = STOPS_AFTER_S - 1, LOST_AFTER_S - 1, LOST_AFTER_S + 1


def test_what_was_too_short_for_a_shim_to_stop_its_command_excuses_nothing():
    assert absences([Away("n1", 10, 10 + SHORT_S), Away("n1", 10, 10 + SHORT_S, frozen=True)]) == ()


def test_a_cut_excuses_from_when_on_commands_stop_and_a_longer_one_all_of_it():
    assert absences([Away("n1", 10, 10 + MIDDLE_S)]) == (Absence("n1", 10 + STOPS_AFTER_S, 10 + MIDDLE_S),)
    assert absences([Away("n1", 10, 10 + LONG_S)]) == (Absence("n1", 10, 10 + LONG_S),)


def test_whoever_was_frozen_may_be_stopped_at_its_very_end_or_beginning():
    thawed = Absence("n1", 10, 10 + MIDDLE_S + THAWED_S)
    assert absences([Away("n1", 10, 10 + MIDDLE_S, frozen=True)]) == (thawed,)


def test_absences_of_one_node_that_touch_are_one():
    one_by_one = [Away("n1", 10, 10 + MIDDLE_S), Away("n2", 11, 12), Away("n1", 11 + MIDDLE_S, 11 + 2 * MIDDLE_S)]
    assert absences(one_by_one) == (Absence("n1", 10, 11 + 2 * MIDDLE_S),)
    apart = [Away("n1", 10, 10 + SHORT_S), Away("n1", 20 + SHORT_S, 20 + 2 * SHORT_S)]
    assert absences(apart) == ()
    within = [Away("n1", 10, 10 + LONG_S), Away("n1", 11, 12)]
    assert absences(within) == (Absence("n1", 10, 10 + LONG_S),)


def test_a_strike_in_which_a_long_cut_begins_counts_with_it_and_alone_excuses_nothing():
    cut = Away("n1", 10, 10 + LONG_S)
    assert absences([], [Away("n1", 5, 50)]) == ()
    assert absences([Away("n1", 10, 10 + SHORT_S)], [Away("n1", 5, 50)]) == ()
    for struck in (Away("n1", 5, 12), Away("", 5, 12)):
        assert absences([cut], [struck]) == (Absence("n1", 5, 10 + LONG_S),)
    for elsewhere in (Away("n2", 5, 12), Away("n1", 5, 9), Away("n1", 11, 12)):
        assert absences([cut], [elsewhere]) == (Absence("n1", 10, 10 + LONG_S),)
