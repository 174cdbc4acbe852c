"""The known word somebody most likely meant."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra_tasks.model.nearest import did_you_mean, nearest

FIELDS = ("command", "labels", "node", "project", "retries", "slots", "timeout_s")


@pytest.mark.parametrize(
    ("word", "meant"),
    [
        ("slotz", "slots"),
        ("Slots", "slots"),
        ("timeout", "timeout_s"),
        ("timeout-s", "timeout_s"),
        ("nodes", "node"),
        ("comand", "command"),
        ("zzz", None),
        ("", None),
        ("slots" * 100, None),
    ],
)
def test_a_mistyped_word_finds_the_one_that_was_meant(word, meant):
    assert nearest(word, FIELDS) == meant


def test_the_suggestion_is_a_question_or_nothing():
    assert did_you_mean("retrys", FIELDS) == "; did you mean 'retries'?"
    assert did_you_mean("zzz", FIELDS) == ""
    assert did_you_mean("anything", ()) == ""


@given(st.text(), st.sets(st.text()))
def test_the_answer_is_a_known_word_and_always_the_same(word, known):
    answer = nearest(word, sorted(known))
    assert answer is None or answer in known
    assert nearest(word, sorted(known, reverse=True)) == answer


@given(st.sampled_from(FIELDS))
def test_a_known_word_is_nearest_to_itself(word):
    assert nearest(word, FIELDS) == word
