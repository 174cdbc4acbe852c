"""The pure parts of commands that look at many runs: what is wanted, what changed, what was typed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra_tasks.cli.keys import keys
from infra_tasks.cli.progress_line import ProgressLine
from infra_tasks.cli.runs_watch import Changes
from infra_tasks.cli.wanted import Wanted, is_named
from infra_tasks.ledger.records import Run


def run_of(run_id="r", state="QUEUED", **fields):
    return Run(run_id, {"state": state, **fields})


def test_a_run_must_fit_all_that_was_asked_for():
    run = run_of(state="STARTED", node="", claim_node="n1", project="p", name="Nightly-7")
    assert Wanted().fits(run, set())
    assert Wanted(frozenset({"STARTED", "QUEUED"}), "n1", "p", "night").fits(run, set())
    for wrong in (Wanted(frozenset({"QUEUED"})), Wanted(node="n2"), Wanted(project="q"), Wanted(name="weekly")):
        assert not wrong.fits(run, set())
    assert not Wanted(node="n1").fits(run_of(), set()), "a run of a pool has no node before it is claimed"
    assert Wanted(node="n1").fits(run_of(node="n1"), set())


def test_unreachable_is_a_state_like_others():
    run = run_of(state="STARTED", node="n1", claim_node="n1")
    assert Wanted(frozenset({"UNREACHABLE"})).fits(run, {"n1"})
    assert not Wanted(frozenset({"STARTED"})).fits(run, {"n1"})
    assert Wanted(frozenset({"UNREACHABLE"})).live_only
    assert not Wanted(frozenset({"STARTED", "FAILURE"})).live_only
    assert not Wanted().live_only


@pytest.mark.parametrize(
    ("name", "pattern", "fits"),
    [
        ("nightly-7", "night", True),
        ("nightly-7", "NIGHTLY*", True),
        ("nightly-7", "night?", False),
        ("nightly-7", "*-[0-9]", True),
        ("a.b", "a.b", True),
        ("axb", "a.b", False),
        ("", "x", False),
        ("", "*", True),
    ],
)
def test_a_name_is_a_part_or_a_pattern(name, pattern, fits):
    assert is_named(name, pattern) is fits


def told(changes, *runs):
    found = [(run.id, was, run.state) for run, was in changes.of(runs, set())]
    changes.told()
    return found


def test_only_what_changed_is_told_oldest_first():
    changes = Changes((), first=1)
    assert told(changes, run_of("b"), run_of("a")) == [("b", "", "QUEUED")], "the newest only, at first"
    assert told(changes, run_of("b"), run_of("a")) == []
    assert told(changes, run_of("c"), run_of("b", "STARTED"), run_of("a")) == [
        ("b", "QUEUED", "STARTED"),
        ("c", "", "QUEUED"),
    ]


def test_what_comes_to_a_wanted_state_or_leaves_it_is_told():
    changes = Changes({"STARTED"}, first=5)
    assert told(changes, run_of("a")) == []
    assert told(changes, run_of("a", "STARTED")) == [("a", "QUEUED", "STARTED")]
    assert told(changes, run_of("a", "SUCCESS")) == [("a", "STARTED", "SUCCESS")]
    assert told(changes, run_of("a", "SUCCESS"), run_of("b")) == []


def test_changes_that_could_not_be_told_are_told_later():
    changes = Changes((), first=5)
    told(changes, run_of("a"))
    changes.of([run_of("a", "STARTED")], set())
    assert told(changes, run_of("a", "STARTED")) == [("a", "QUEUED", "STARTED")]


@pytest.mark.parametrize(
    ("typed", "names"),
    [
        ("jq/", ["j", "q", "/"]),
        ("\x1b[A\x1bOB\x1b[5~\x1b[6~", ["up", "down", "pageup", "pagedown"]),
        ("\x1b[1;5C", ["right"]),
        ("\x1b[H\x1b[F\x1b[1~\x1b[4~", ["home", "end", "home", "end"]),
        ("\r\n\x7f\x03", ["enter", "enter", "backspace", "ctrl-c"]),
        ("\x1b[200~x", ["x"]),
        ("\x1b\x1b", ["esc", "esc"]),
        ("\x1bq", ["esc", "q"]),
        ("\x1b[", ["esc", "["]),
        ("ä漢\x01", ["ä", "漢"]),
        ("", []),
    ],
)
def test_keys_have_names(typed, names):
    assert keys(typed, whole=True) == (names, "")


def test_a_sequence_that_comes_in_pieces_is_one_key():
    for cut in (1, 2, 3):
        sequence = "\x1b[6~"
        found, rest = keys(sequence[:cut], whole=False)
        assert (found, rest) == ([], sequence[:cut])
        assert keys(rest + sequence[cut:], whole=False) == (["pagedown"], "")


@given(st.text())
def test_whatever_is_typed_is_keys(typed):
    found, rest = keys(typed, whole=True)
    assert rest == ""
    assert all(found)


def test_progress_is_told_after_a_while_and_then_seldom(capsys):
    now = [0.0]
    with ProgressLine(lambda: now[0]) as progress:
        for second in range(25):
            now[0] = float(second)
            progress.show(f"at {second}")
    assert capsys.readouterr().err.split("\n") == ["infra: at 10", "infra: at 20", ""]
