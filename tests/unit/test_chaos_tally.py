"""What the comparison counts: told from the notes alone, the same for every system."""

from __future__ import annotations

from chaos.checker import Strain
from chaos.compare import BEDS, NEMESES, PARTS, Outcome, as_table, kinds_of_both
from chaos.notes import End, Handed, Note, Seen, Story
from chaos.plan import Item, Part
from chaos.strikes import Ground, strikes
from chaos.tally import Tally, tally

PART = Part((1.0,))
SUCCESS = End("SUCCESS")


def handed(*runs, sure=True, shape="single", at=0.0):
    return Handed(Item(0, at, shape, (PART,) * len(runs)), runs, sure, at)


def attempt(run, token, at=1.0, until=2.0, number=1, code=0):
    who = {"run": run, "attempt": number, "token": token, "node": "n1", "pid": 1}
    return (Note("start", at=at, **who), Note("end", at=until, code=code, **who))


def counted(items, notes=(), ends=(), strain=None, states=None):
    ids = [run for one in items for run in one.ids]
    final = dict.fromkeys(ends, SUCCESS)
    seen = {run: Seen(SUCCESS, 9.0) for run in ends}
    flat = tuple(note for attempt_of in notes for note in attempt_of)
    story = Story(tuple(items), flat, {**dict.fromkeys(ids), **final}, seen)
    return tally(story, strain or Strain(), states or {})


def test_a_run_that_was_accepted_and_has_no_end_is_lost_and_told_as_what():
    said = counted([handed("a"), handed("b")], [attempt("a", "t")], ["a"], states={"b": "STARTED"})
    assert (said.accepted, said.lost, said.lost_as, said.longest_s) == (2, 1, {"STARTED": 1}, 9.0)


def test_what_was_refused_is_neither_accepted_nor_lost():
    said = counted([handed("a", sure=False)])
    assert (said.accepted, said.lost) == (0, 0)


def test_work_that_came_to_its_end_twice_was_done_again():
    said = counted([handed("a")], [attempt("a", "t"), attempt("a", "u", at=3, until=4)], ["a"])
    assert (said.done_again, said.done_again_unharmed, said.asked_again, said.at_once) == (1, 1, 0, 0)


def test_an_attempt_that_never_came_to_its_end_did_no_work_twice():
    cut_short = attempt("a", "t")[:1]
    assert counted([handed("a")], [cut_short, attempt("a", "u", at=3, until=4)], ["a"]).done_again == 0


def test_what_a_strike_harmed_is_done_again_but_not_without_a_cause():
    notes = [attempt("a", "t"), attempt("a", "u", at=3, until=4, number=2)]
    said = counted([handed("a")], notes, ["a"], Strain(harmed=frozenset({("a", 1)})))
    assert (said.done_again, said.done_again_unharmed) == (1, 0)


def test_what_was_asked_for_twice_is_told_apart():
    notes = [attempt("a", "t"), attempt("a", "u", at=3, until=4)]
    assert counted([handed("a", sure=False), handed("a")], notes, ["a"]).asked_again == 1


def test_attempts_beside_each_other_were_alive_at_once():
    assert counted([handed("a")], [attempt("a", "t"), attempt("a", "u", at=1.5, until=3)], ["a"]).at_once == 1


def test_a_chord_whose_parts_did_their_work_misses_its_body_if_that_never_ran():
    chord = handed("a", "b", "body", shape="chord")
    done = [attempt("a", "t"), attempt("b", "u")]
    assert counted([chord], done, ["a", "b"]).chord_bodies_missing == 1
    assert counted([chord], [*done, attempt("body", "v", 3, 4)], ["a", "b", "body"]).chord_bodies_missing == 0
    assert counted([chord], done[:1], ["a"]).chord_bodies_missing == 0


def test_both_systems_get_the_same_strikes():
    for number in NEMESES:
        struck = kinds_of_both(number)
        assert struck
        drawn = [strikes(1, struck, Ground(("n1",), PARTS), 50.0, 10) for _ in BEDS]
        assert drawn[0] == drawn[1]
        assert {one.target for one in drawn[0]}.isdisjoint({"agent", "control", "beat", "shim", "watcher"})


def test_the_table_says_what_the_lost_ones_are_taken_for():
    said = Outcome(4, "plain", (), Tally(accepted=9, lost=2, lost_as={"PENDING": 2}), {"lost": 2})
    assert "| 4 broker wiped | plain Celery | 9 | 2 (2 PENDING) |" in as_table([said])
