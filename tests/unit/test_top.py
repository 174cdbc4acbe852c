"""The pure parts of `infra top`: what keys make of the view, what is shown, and how."""

from __future__ import annotations

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from infra_tasks.cli.lines import Lines, OutputLine, plain
from infra_tasks.cli.nodes_view import NodeView
from infra_tasks.cli.top.drawing import Scene, lines_of, page_of, plain_lines
from infra_tasks.cli.top.looking import Snapshot
from infra_tasks.cli.top.model import Act, Mode, Row, Size, Sort, View, press, settled, visible

ROWS = [
    Row("r1", "QUEUED", "", "p", "train: python train.py", 100.0),
    Row("r2", "STARTED", "n2", "", "sleep 60", 300.0),
    Row("r3", "STARTED", "n1", "q", "make all", 200.0),
    Row("r4", "PENDING", "n1", "p", "echo", 50.0),
]
SIZE = Size(page=2)


def ids(view, rows=ROWS):
    return [row.id for row in visible(rows, view)]


def after(*keys, view=View(), rows=ROWS, size=SIZE):  # noqa: B008  a view is frozen
    view = settled(view, visible(rows, view))
    acts = []
    for key in keys:
        view, act = press(view, key, rows, size)
        acts.append(act)
    return view, acts


def test_what_runs_stands_above_what_waits():
    assert ids(View()) == ["r3", "r2", "r1", "r4"]


@pytest.mark.parametrize(
    ("sort", "order"),
    [
        (Sort.AGE, ["r4", "r1", "r3", "r2"]),
        (Sort.NODE, ["r3", "r4", "r2", "r1"]),
        (Sort.PROJECT, ["r1", "r4", "r3", "r2"]),
        (Sort.WHAT, ["r4", "r3", "r2", "r1"]),
    ],
)
def test_rows_are_sorted_as_wanted(sort, order):
    assert ids(View(sort=sort)) == order


def test_s_goes_through_all_orders_and_stays_on_the_run():
    view, _ = after("down")
    assert view.selected == "r2"
    seen = []
    for _ in Sort:
        view, _ = press(view, "s", ROWS, SIZE)
        seen.append(view.sort)
        assert view.selected == "r2"
    assert set(seen) == set(Sort)
    assert view.sort is Sort.STATE


@pytest.mark.parametrize(
    ("keys", "at"),
    [
        ("jj", "r1"), (["down", "up"], "r3"), ("jjjjjj", "r4"), ("kk", "r3"), ("G", "r4"), ("Gg", "r3"),
        (["pagedown"], "r1"), (["end", "pageup"], "r2"), (["home"], "r3"),
    ],
)  # fmt: skip
def test_keys_move_the_selection_and_stop_at_the_ends(keys, at):
    assert after(*keys)[0].selected == at


def test_the_selection_stays_on_its_run_and_takes_the_next_one_when_that_ends():
    view, _ = after("j")
    assert settled(view, visible([*ROWS[::-1]], view)).selected == "r2"
    left = [row for row in ROWS if row.id != "r2"]
    assert settled(view, visible(left, view)).selected == "r1", "the one that stands in its place"
    assert settled(view, []).selected is None
    assert after("j", "l", "c", rows=[])[1] == [None, None, None], "nothing to open or to cancel"


def test_a_filter_is_typed_kept_and_dropped():
    view, _ = after("/")
    assert view.mode is Mode.FILTER
    view, acts = after(*"q STARTED", view=view)
    assert (ids(view), acts.count(Act.QUIT)) == (["r3"], 0), "while typing q is a letter"
    dropped, _ = after("esc", view=view)
    assert (dropped.mode, dropped.filter) == (Mode.LIST, "")
    kept, _ = after("enter", view=view)
    assert (kept.mode, kept.filter, kept.selected) == (Mode.LIST, "q STARTED", "r3")
    changed, _ = after("/", "backspace", view=kept)
    assert changed.draft == "q STARTE"
    assert after("esc", view=changed)[0].filter == "q STARTED"
    assert after("/", "ctrl-u", "enter", view=kept)[0].filter == ""
    assert after("esc", view=kept)[0].filter == ""


def test_cancel_is_asked_first_and_only_y_means_yes():
    view, acts = after("c", "y")
    assert (view.mode, view.asked, acts[-1]) == (Mode.LIST, "r3", Act.CANCEL)
    for key in ("n", "q", "esc", "enter", "j"):
        view, acts = after("c", key)
        assert (view.mode, view.asked, acts[-1]) == (Mode.LIST, None, None)


def test_what_is_asked_about_does_not_change_when_the_list_does():
    view, _ = after("c")
    view = settled(view, visible(ROWS[:1], view))
    view, act = press(view, "y", ROWS[:1], SIZE)
    assert (view.asked, act) == ("r3", Act.CANCEL)


def test_logs_are_opened_scrolled_followed_and_left():
    size = Size(page=10, log_lines=25)
    view, acts = after("l", size=size)
    assert (view.mode, view.logs, acts) == (Mode.LOGS, "r3", [Act.OPEN_LOGS])
    view, _ = after("k", "pageup", view=view, size=size)
    assert view.back == 11
    assert after("home", view=view, size=size)[0].back == 15
    assert after("end", view=view, size=size)[0].back == 0
    assert after("j", view=view, size=size)[0].back == 10
    view, acts = after("c", "y", view=view, size=size)
    assert (view.mode, view.asked, acts[-1]) == (Mode.LOGS, "r3", Act.CANCEL)
    view, acts = after("esc", view=view, size=size)
    assert (view.mode, view.logs, acts) == (Mode.LIST, None, [Act.CLOSE_LOGS])
    assert after("l", "q", size=size)[1] == [Act.OPEN_LOGS, Act.QUIT]


@given(st.lists(st.sampled_from(["j", "k", "s", "/", "esc", "enter", "l", "c", "y", "n", "a", "backspace", "G", "g"])))
def test_ctrl_c_ends_it_whatever_was_typed_before(keys):
    view, _ = after(*keys)
    assert press(view, "ctrl-c", ROWS, SIZE)[1] is Act.QUIT


def snapshot(rows=ROWS, nodes=2):
    views = [NodeView(f"n{at}", "up", live=1, slots=2, roles=[], silent_s=0.1) for at in range(nodes)]
    return Snapshot("home", views, list(rows), {"STARTED": 2, "QUEUED": 5, "SUCCESS": 9}, 1000.0)


def drawn(**said):
    scene = Scene(**{"view": after()[0], "seen": snapshot(), "columns": 120, "rows": 20, **said})
    return lines_of(scene)


def test_nodes_stand_above_runs_and_keys_below():
    lines = drawn()
    text = "\n".join(lines)
    assert len(lines) == 20
    assert text.index("n0") < text.index("n1") < text.index("r3") < text.index("r2") < text.index("q quit")
    assert "2 STARTED, 5 QUEUED, 9 SUCCESS" in lines[0]
    assert "3 more wait" in lines[-1]
    assert "13m" in next(line for line in lines if line.startswith("r3")), "1000 - 200 s"


@given(st.integers(1, 140), st.integers(1, 40), st.integers(0, 30), st.sampled_from(list(Mode)))
def test_any_size_gets_as_many_lines_as_it_has_and_the_keys_at_the_bottom(columns, rows, nodes, mode):
    many = [Row(f"run-{at}", "QUEUED", "n1", "p", "漢字" * 40, 1.0) for at in range(30)]
    view = View(mode=mode, selected="run-29", position=29, logs="run-29" if mode is Mode.LOGS else None, asked="run-29")
    view = settled(view, visible(many, view))
    lines = drawn(view=view, seen=snapshot(many, nodes), columns=columns, rows=rows, log=[OutputLine("stdout", "x")])
    assert len(lines) == rows
    words = {Mode.LIST: "quit", Mode.FILTER: "filter:", Mode.CONFIRM: "y/n", Mode.LOGS: "Esc back"}
    assert words[mode] in lines[-1]
    if mode is Mode.LIST and rows > 4 + min(nodes + 1, max(2, rows // 3)):
        assert any(line.startswith("run-29 ") for line in map(click.unstyle, lines)), "the selected run is shown"
    assert page_of(rows, nodes) >= 1


def test_a_wide_terminal_is_not_overrun():
    for columns in (40, 60, 80, 100, 200):
        lines = drawn(seen=snapshot([Row("r", "QUEUED", "n1", "p", "x" * 300, 1.0)]), columns=columns)
        assert max(cell_len(click.unstyle(line)) for line in lines[1:-1]) <= columns, "the screen cuts the other two"


def test_a_fleet_that_does_not_answer_is_told_of_and_time_goes_on():
    lines = drawn(silence="the fleet has not answered for 12s", elapsed_s=60.0)
    assert "has not answered for 12s" in lines[0]
    assert any("14m" in line for line in lines if line.startswith("r3")), "800 s + 60 s"
    assert "has not answered" in drawn(seen=None, silence="the fleet has not answered for 12s")[0]
    assert "looking" in drawn(seen=None)[0]


def test_what_was_asked_stands_at_the_bottom():
    assert "cancel run r3? y/n" in drawn(view=after("c")[0])[-1]
    assert "filter: tr_" in drawn(view=after(*"/tr")[0])[-1]
    assert "run r3 was asked" in drawn(message="run r3 was asked to stop")[-1]
    assert "no live run fits the filter" in "\n".join(drawn(view=after(*"/nothing")[0]))


def test_logs_follow_or_stand_where_they_were_scrolled_to():
    log = [OutputLine("stdout", f"line {at}") for at in range(50)]
    view, _ = after("l", size=Size(18, 50))
    lines = drawn(view=view, log=log)
    assert (lines[1], lines[18]) == ("line 32", "line 49")
    assert "following" in lines[0]
    lines = drawn(view=after("k", "k", view=view, size=Size(18, 50))[0], log=log)
    assert (lines[18], "2 lines above the end" in lines[0]) == ("line 47", True)
    assert "no output yet" in drawn(view=view, log=[])[1]


def test_a_pipe_gets_all_rows_once():
    many = [Row(f"run-{at}", "QUEUED", "n1", "p", "true", 1.0) for at in range(80)]
    text = "\n".join(plain_lines(snapshot(many, 40), 100_000))
    assert all(f"run-{at}" in text for at in range(80))
    assert all(f"n{at} " in text for at in range(40))


def test_lines_that_come_in_pieces_are_one_line():
    lines = Lines(10)
    for piece in (b"he", b"llo\nwor", "lä".encode()[:2], "lä".encode()[2:], b"\n\n"):
        lines.add("stdout", piece)
    assert [line.text for line in lines.all()] == ["hello", "worlä", ""]
    assert lines.last() == "worlä"
    lines.add("stdout", b"prom")
    lines.add("stderr", b"oops\n")
    assert lines.all()[-2:] == [OutputLine("stderr", "oops"), OutputLine("stdout", "prom")]
    lines.say("attempt 2")
    lines.add("stdout", b"new\n")
    assert [line.text for line in lines.all()[-3:]] == ["prom", "attempt 2", "new"]


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("\x1b[31mred\x1b[0m", "red"),
        ("10%\r50%\r100%", "100%"),
        ("done\r", "done"),
        ("a\tb", "a       b"),
        ("\x1b]0;title\x07x\x1b[2J", "x"),
        ("\x1b]52;c;AAAA", ""),
        ("a\x07\x9b31mb\x00", "a31mb"),
        ("\x1b", ""),
    ],
)
def test_nothing_that_was_written_is_obeyed(written, shown):
    assert plain(written) == shown


@given(st.lists(st.binary(max_size=20), max_size=20))
def test_whatever_is_written_is_printable_lines(pieces):
    lines = Lines(50)
    for piece in pieces:
        lines.add("stdout", piece)
    assert all(line.text.isprintable() for line in lines.all())
