"""The checker of the chaos suite: each promise with a story that breaks it, and one that does not."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import pytest

from chaos.checker import THAWED_S, Absence, Strain, Thaw, Violation, calm, counted, violations
from chaos.notes import End, Handed, Note, Seen, Story
from chaos.plan import Item, Part

QUICK = Part((1.0,))
FAILING = Part((1.0,), (3,))
RETRIED = Part((1.0, 1.0), (3, 0), retries=2)
PINNED = replace(QUICK, node="n1")
SELF_HARMING = replace(QUICK, habits=("kill-parent",))


@dataclass
class Tale:
    """A story that is told line by line. Moments are seconds."""

    handed: list[Handed] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)
    ends: dict[str, End | None] = field(default_factory=dict)
    seen: dict[str, Seen] = field(default_factory=dict)
    more: dict[str, object] = field(default_factory=dict)

    def hand_in(
        self,
        *runs: str,
        part: Part = QUICK,
        shape: str = "single",
        at: float = 0.0,
        sure: bool = True,
        since: float | None = None,
    ) -> Tale:
        item = Item(len(self.handed), at, shape, (part,) * len(runs))
        self.handed.append(Handed(item, runs, sure, at, at if since is None else since))
        self.ends |= dict.fromkeys(runs)
        return self

    def attempt(
        self,
        run: str,
        number: int = 1,
        at: float = 1.0,
        until: float = 2.0,
        code: int | None = 0,
        node: str = "n1",
        claim: str = "c",
    ) -> Tale:
        who = {"run": run, "attempt": number, "token": f"{number}:{claim}", "node": node, "pid": 1}
        self.notes.append(Note("start", at=at, **who))
        self.notes.append(Note("alive", at=until, **who) if code is None else Note("end", at=until, code=code, **who))
        return self

    def end(self, run: str, state: str = "SUCCESS", token: str = "1:c", reason: str = "", at: float = 9.0) -> Tale:
        self.ends[run] = End(state, token, reason)
        self.seen[run] = Seen(self.ends[run], at)
        return self

    def also(self, **more: object) -> Tale:
        self.more |= more
        return self

    def violations(self, strain: Strain | None = None) -> list[Violation]:
        story = Story(tuple(self.handed), tuple(self.notes), self.ends, self.seen, **self.more)
        return violations(story, strain or Strain())

    def found(self, strain: Strain | None = None) -> list[str]:
        return list(counted(self.violations(strain)))

    def lost(self) -> list[str]:
        return [one.what.split()[0] for one in self.violations() if one.kind == "lost"]


def whole(*runs: str, part: Part = QUICK, **more: object) -> Tale:
    """Runs that were handed in, did their work and succeeded, one after the other."""
    tale = Tale().hand_in(*runs, part=part, **more)
    for place, run in enumerate(runs):
        tale.attempt(run, at=1.0 + 2 * place, until=2.0 + 2 * place).end(run)
    return tale


def again(part: Part = QUICK, code: int | None = None, **second: object) -> Tale:
    """A run whose first attempt came to `code`, and whose second one succeeded."""
    tale = Tale().hand_in("a", part=part).attempt("a", code=code)
    return tale.attempt("a", 2, **{"at": 3.0, "until": 4.0, **second}).end("a", token="2:c")


# Nothing is wrong.


@pytest.mark.parametrize(
    "tale",
    [
        whole("a"),
        whole("a", "b", shape="chain"),
        whole("a", "b", "c", "d", shape="chord"),
        Tale().hand_in("a", part=FAILING).attempt("a", code=3).end("a", "FAILURE", reason="exit_code"),
        Tale().hand_in("a", part=FAILING).attempt("a", code=3).end("a", "FAILURE", token=""),
        again(RETRIED, code=3),
        Tale().hand_in("a", sure=False),
        Tale().hand_in("a", sure=False).hand_in("a").attempt("a").end("a"),
    ],
)
def test_a_good_story_breaks_no_promise(tale: Tale):
    assert tale.found() == []


# Every accepted run has one final state.


def test_an_accepted_run_without_an_end_is_lost():
    assert Tale().hand_in("a").found() == ["lost"]
    assert Tale().hand_in("a").attempt("a").found() == ["lost"]


@pytest.mark.parametrize(("shape", "runs"), [("chain", "ab"), ("chord", "abcd")])
def test_what_comes_behind_others_is_lost_only_if_all_of_them_succeeded(shape: str, runs: str):
    tale = whole(*runs, shape=shape)
    tale.ends[runs[-1]] = None
    tale.seen.pop(runs[-1])
    assert tale.found() == ["lost"]
    assert tale.lost() == [runs[-1]]
    tale.end(runs[0], "FAILURE", reason="exit_code")
    assert tale.lost() == []


def test_each_step_of_a_long_chain_is_due_when_those_before_it_succeeded():
    tale = Tale().hand_in("a", "b", "c", shape="chain")
    assert tale.lost() == ["a"]
    assert tale.end("a").lost() == ["b"]
    assert tale.end("b").lost() == ["c"]


def test_what_was_accepted_after_the_older_copy_and_never_began_may_be_forgotten():
    late = Strain(forgotten=((5.0, 10.0),))
    assert Tale().hand_in("a", at=7).found(late) == []
    assert Tale().hand_in("a", at=4).found(late) == ["lost"]
    assert Tale().hand_in("a", at=11).found(late) == ["lost"]
    assert Tale().hand_in("a", since=9, at=11).found(late) == [], "a part of it was accepted before"
    assert Tale().hand_in("a", at=7).attempt("a", at=8, until=9).found(late) == ["lost"], "its node knows of it"


def test_only_what_was_cancelled_may_end_as_revoked():
    cancelled = Strain(cancelled=frozenset({"a"}))
    assert Tale().hand_in("a").attempt("a").end("a", "REVOKED").found(cancelled) == []
    assert Tale().hand_in("b").attempt("b").end("b", "REVOKED").found(cancelled) == ["wrong end"]
    assert "wrong end" in Tale().hand_in("a").attempt("a").end("a", "FAILURE", reason="timeout").found(cancelled)


def test_a_run_must_end_as_it_was_asked_to():
    assert whole("a", part=FAILING).found() == ["wrong end"]
    assert "wrong end" in Tale().hand_in("a").attempt("a").end("a", "FAILURE", reason="timeout").found()
    assert "wrong end" in Tale().hand_in("a").attempt("a").end("a", "REVOKED").found()
    failed = Tale().hand_in("a", part=FAILING).attempt("a", code=3)
    assert failed.end("a", "FAILURE", reason="node_lost").found() == ["wrong end"]


def test_only_what_died_three_times_may_be_poisoned_and_only_a_cost_may_be_a_reason():
    def poisoned(attempts: int, harmed: int = 8) -> list[str]:
        tale = Tale().hand_in("a").end("a", "FAILURE", "3:c", "poisoned")
        for number in range(1, attempts + 1):
            tale.attempt("a", number, at=number, until=number + 0.5, code=None)
        return tale.found(Strain(harmed=frozenset(("a", number) for number in range(1, harmed + 1))))

    assert poisoned(3) == []
    assert poisoned(2) == ["wrong end"]
    assert poisoned(3, harmed=2) == ["wrong end"]
    full = Tale().hand_in("a").attempt("a", code=None).end("a", "FAILURE", reason="start_failed")
    assert full.found() == ["wrong end"]
    assert full.found(Strain(reasons=frozenset({"start_failed"}))) == []


def test_an_end_is_for_good():
    tale = whole("a")
    tale.seen["a"] = Seen(End("FAILURE", "1:c", "exit_code"), 9.0)
    assert tale.found() == ["changed"]
    tale.seen["a"] = Seen(End("SUCCESS", "2:d"), 9.0)
    assert tale.found() == ["changed"], "another attempt's success is another end"
    gone = whole("a", at=7)
    gone.ends["a"] = None
    assert "changed" in gone.found(Strain(forgotten=((5.0, 10.0),)))


# What the commands did.


def test_nothing_runs_that_was_never_handed_in():
    assert whole("a").attempt("x").found() == ["uninvited"]


def test_nothing_happens_after_the_end():
    assert whole("a").end("a", at=1.5).found() == ["late"]
    assert whole("a").end("a", at=2.0).found() == []


def test_two_attempts_never_live_at_once():
    assert "overlapping" in again(RETRIED, code=3, at=1.5).found()
    assert "overlapping" in again(code=None, at=1.5).found(Strain(harmed=frozenset({("a", 1)}))), "harm is no excuse"


def test_a_third_attempt_within_the_first_is_seen_too():
    tale = again(RETRIED, code=3, at=3.0, until=3.5)
    tale.attempt("a", 3, at=1.2, until=1.4, code=None)
    assert "overlapping" in tale.found()


def test_nothing_is_started_again_without_a_cause():
    assert again(code=None).found() == ["repeated"]
    assert again(code=0).found() == ["doubled", "repeated"]
    assert again(replace(RETRIED, retries=0), code=3).found() == ["repeated"]
    assert again(RETRIED, code=None).found() == ["repeated"], "a retry is for what failed"


def test_a_success_that_nobody_harmed_is_no_cause_whatever_became_of_the_next_attempt():
    tale = Tale().hand_in("a").attempt("a").attempt("a", 2, 3.0, 4.0)
    assert tale.end("a").found(Strain(harmed=frozenset({("a", 2)}))) == ["repeated"]


def test_one_attempt_is_started_once():
    tale = whole("a")
    tale.notes.append(tale.notes[0]._replace(at=2.5, pid=2))
    assert tale.found(Strain(harmed=frozenset({("a", 1)}))) == ["repeated"], "harm is no excuse"


def test_what_was_harmed_may_be_run_again_and_nothing_else():
    assert again(code=None).found(Strain(harmed=frozenset({("a", 1)}))) == []
    assert again(code=0).found(Strain(harmed=frozenset({("a", 1)}))) == []
    assert again(code=None).found(Strain(harmed=frozenset({("a", 2), ("b", 1)}))) == ["repeated"]
    assert again(SELF_HARMING).found() == []
    thrice = again(SELF_HARMING).attempt("a", 3, 5.0, 6.0).end("a", token="3:c")
    assert thrice.found() == ["doubled", "repeated"], "it kills its shim in its first attempt alone"


def test_a_node_that_was_away_excuses_what_any_node_may_take_and_ran_there_meanwhile():
    def away(node: str, since: float, until: float) -> Strain:
        return Strain(absent=(Absence(node, since, until),))

    assert again(code=0, node="n2").found(away("n1", 1.5, 90)) == []
    assert again(code=0, node="n2").found(away("n2", 0, 2.5)) == ["doubled", "repeated"]
    assert again(code=0, node="n2").found(away("n1", 2.5, 90)) == ["doubled", "repeated"], "it had ended before"
    assert again(code=0, node="n2").found(away("n1", 0.1, 0.5)) == ["doubled", "repeated"], "it was back before"
    assert again(code=None, node="n2").found(away("n1", 2.5, 90)) == [], "it was alive, and had no time to note it"
    assert again(code=None, node="n2").found(away("n1", 5.5, 90)) == ["repeated"], "it was no more"
    assert again(PINNED, code=0).found(away("n1", 1.5, 90)) == ["doubled", "repeated"], "it is that node's alone"


def test_an_end_is_earned_by_the_recorded_attempt():
    assert Tale().hand_in("a").end("a").found() == ["unearned"]
    assert Tale().hand_in("a").attempt("a", code=None).end("a").found() == ["unearned"]
    assert Tale().hand_in("a").attempt("a").end("a", token="2:d").found() == ["unearned"]
    assert Tale().hand_in("a").attempt("a", code=None).end("a", token="").found() == ["unearned"]
    unfinished = Tale().hand_in("a", part=FAILING).attempt("a", code=None)
    assert unfinished.end("a", "FAILURE", reason="exit_code").found() == ["unearned"]


def test_the_work_is_done_once():
    tale = again(replace(RETRIED, codes=(0, 0)), code=0)
    assert "doubled" in tale.found()
    assert "doubled" in tale.end("a", token="").found()


def test_what_comes_behind_begins_when_all_before_have_ended():
    for shape, runs in (("chain", "ab"), ("chord", "abcd")):
        tale = Tale().hand_in(*runs, shape=shape)
        for run in runs:
            tale.attempt(run, at=1.0 if run != runs[-1] else 1.5).end(run)
        assert tale.found() == ["early"], "they had begun, and not ended"


def test_the_body_of_a_chord_runs_once():
    tale = whole(*"abcd", shape="chord").attempt("d", 2, at=20.0, until=21.0)
    tale.end("d", at=30.0)
    assert tale.found() == ["doubled", "repeated"]


# The whole.


def test_no_node_runs_more_than_it_has_slots():
    def three(slots: int, third_at: float = 1.4) -> list[str]:
        tale = Tale().also(slots={"n1": slots})
        for run, at in (("a", 1.0), ("b", 1.2), ("c", third_at)):
            tale.hand_in(run).attempt(run, at=at, until=at + 1).end(run)
        return tale.found()

    assert three(slots=3) == []
    assert three(slots=2) == ["slots"]
    assert three(slots=2, third_at=2.0) == [], "the first one had just ended"


def test_nothing_lives_the_audit_is_clean_and_every_queue_consumes():
    assert whole("a").also(living=("pid 7",)).found() == ["living"]
    assert whole("a").also(unfinished=("1 runs are not final",)).found() == ["unfinished"]
    assert whole("a").also(audit=("a result without a run",)).found() == ["audit"]
    assert whole("a").also(consumed_after_s={"n1": None}).found() == ["deaf"]
    slow = whole("a").also(consumed_after_s={"n1": 31.0})
    assert slow.found() == []
    assert slow.found(Strain(within_s=30)) == ["deaf"]
    assert slow.found(Strain(within_s=40)) == []


def test_what_a_thawed_node_does_before_its_shims_wake_is_excused_there_and_then():
    def thawed(node: str, at: float = 30.0) -> Strain:
        return Strain(absent=(Absence("n1", 1.5, at + THAWED_S),), thawed=(Thaw(node, 1.5, at),))

    def woken(part: Part = QUICK, at: float = 31.0, token: str = "2:c", number: int = 1, since: float = 1.0) -> Tale:
        """Its first attempt froze, another one did the work elsewhere, and the first one comes to its end."""
        tale = Tale().hand_in("a", part=part).attempt("a", number, at=since, until=at)
        return tale.attempt("a", 2, 25.0, 26.0, node="n2").end("a", token=token, at=27.0)

    assert woken().found(thawed("n1")) == []
    assert woken().found(thawed("n2")) == ["late", "overlapping"]
    assert woken(since=25.5, at=25.6).found(thawed("n1", 25.4)) == [], "it froze before it could say that it began"
    assert "overlapping" in woken(since=25.5, at=25.6, number=3).found(thawed("n1", 25.4)), "it was claimed since"
    assert woken(at=33.5).found(thawed("n1")) == ["late", "overlapping"], "its shim had the time to wake"
    assert woken(at=29.5).found(thawed("n1")) == ["late", "overlapping"], "it was frozen then"
    assert "late" in woken(PINNED).found(thawed("n1")), "it has no lease"
    assert "late" in woken(token="1:c").found(thawed("n1")), "it was the very one that had ended"


def test_a_command_finds_the_code_that_is_recorded():
    tale = whole("a")
    tale.notes[0] = tale.notes[0]._replace(release="r1", tree="r1")
    tale.ends["a"] = End("SUCCESS", "1:c", "", "r1")
    tale.seen["a"] = Seen(tale.ends["a"], 9.0)
    assert tale.found() == []
    tale.notes[0] = tale.notes[0]._replace(tree="r2")
    assert tale.found() == ["other code"]
    tale.notes[0] = tale.notes[0]._replace(release="r2")
    assert tale.found() == ["other code"]


def test_a_command_of_a_project_that_was_given_no_code_is_found():
    tale = whole("a", part=replace(QUICK, project="site"))
    assert tale.found() == ["other code"]
    tale.notes[0] = tale.notes[0]._replace(release="r1", tree="r1")
    tale.ends["a"] = End("SUCCESS", "1:c", "", "r1")
    tale.seen["a"] = Seen(tale.ends["a"], 9.0)
    assert tale.found() == []


def test_a_storm_that_struck_nothing_proves_nothing():
    assert list(counted(calm(3, 3))) == ["calm"]
    assert calm(3, 2) == []
    assert calm(0, 0) == []


def test_a_slot_is_free_though_what_slept_through_its_lease_has_a_last_word_in_the_moment_of_its_thaw():
    thawed = Strain(absent=(Absence("n1", 1.5, 30.0 + THAWED_S),), thawed=(Thaw("n1", 1.5, 30.0),))
    tale = Tale().hand_in("a").hand_in("b").also(slots={"n1": 1})
    tale.attempt("a", until=30.2, code=None).attempt("a", 2, at=25.0, until=26.0, node="n2").end(
        "a", token="2:c", at=27.0
    )
    tale.attempt("b", at=30.1, until=30.5).end("b", at=31.0)
    assert tale.found(thawed) == []
    assert "slots" in tale.found(replace(thawed, thawed=()))
