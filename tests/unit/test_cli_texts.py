"""Text on its way to people: wrapped, escaped, and told now and then."""

from __future__ import annotations

import os

from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from infra_tasks.cli import printing
from infra_tasks.cli.path_text import harmless, path_text, utf8_text
from infra_tasks.cli.sync_progress import Notes, words
from infra_tasks.cli.wrapping import wrapped
from infra_tasks.releases.remote.tally import Progress


def test_text_is_broken_between_words():
    assert wrapped("code ready: 12 files brought", 12) == ["code ready:", "12 files", "brought"]
    assert wrapped("", 10) == wrapped("  \n ", 10) == [""]
    assert wrapped("all of it", 100) == ["all of it"]


def test_a_word_that_is_too_wide_is_broken_itself():
    assert wrapped("a sha256abcdef b", 5) == ["a", "sha25", "6abcd", "ef b"]


def narrow_table(capsys, monkeypatch, columns):
    monkeypatch.setattr(printing, "width", lambda: columns)
    rows = [("mac-2", "0.1.0", "12 GiB free", "all is well here")]
    printing.print_table(("NODE", "VERSION", "DISK", "HOW"), rows, flexible=3, wrap=True, spare=("VERSION", "DISK"))
    return capsys.readouterr().out.splitlines()


def test_what_a_narrow_terminal_has_no_room_for_is_left_out_least_needed_first(capsys, monkeypatch):
    assert narrow_table(capsys, monkeypatch, 45)[1] == "mac-2  0.1.0    12 GiB free  all is well here"
    assert narrow_table(capsys, monkeypatch, 44) == [
        "NODE   DISK         HOW",
        "mac-2  12 GiB free  all is well here",
    ]
    assert narrow_table(capsys, monkeypatch, 30) == ["NODE   HOW", "mac-2  all is well here"]


@given(st.text(), st.integers(2, 40))
def test_no_line_is_too_wide_and_no_letter_is_lost(text, columns):
    lines = wrapped(text, columns)
    assert all(cell_len(line) <= columns for line in lines)
    assert "".join("".join(lines).split()) == "".join(text.split())


def table(capsys, monkeypatch, columns, *rows):
    monkeypatch.setattr(printing, "width", lambda: columns)
    printing.print_table(("WHEN", "BY", "WHY"), rows, flexible=2, wrap=True)
    return capsys.readouterr().out.splitlines()


def test_a_table_that_is_too_wide_goes_on_below_its_last_column(capsys, monkeypatch):
    row = ("+1s", "dispatch mac-1", "code ready: 12 files, 1.2 MiB brought to mac-2 in 0.4 s")
    assert table(capsys, monkeypatch, 50, row) == [
        "WHEN  BY              WHY",
        "+1s   dispatch mac-1  code ready: 12 files, 1.2",
        "                      MiB brought to mac-2 in 0.4",
        "                      s",
    ]


def test_where_the_last_column_is_too_narrow_the_text_goes_below_the_row(capsys, monkeypatch):
    row = ("+1s", "dispatch mac-1", "code ready: 12 files, 1.2 MiB brought to mac-2 in 0.4 s")
    assert table(capsys, monkeypatch, 40, row, ("+2s", "w", "short")) == [
        "WHEN  BY              WHY",
        "+1s   dispatch mac-1",
        "    code ready: 12 files, 1.2 MiB",
        "    brought to mac-2 in 0.4 s",
        "+2s   w               short",
    ]


def test_a_pipe_gets_every_row_on_one_line(capsys):
    printing.print_table(("A", "B"), [("1", "word " * 100)], flexible=1, wrap=True)
    assert len(capsys.readouterr().out.splitlines()) == 2


def test_a_path_is_shown_on_one_line_whatever_it_is():
    assert path_text("plain/smörgås 漢字") == "plain/smörgås 漢字"
    assert path_text("a\nb\x1b[0m\u202e") == r"a\nb\x1b[0m\u202e"
    assert path_text(os.fsdecode(b"\xff\n")) == r"\xff\n"
    assert utf8_text(os.fsdecode(b"\xff\n")) == "\\xff\n"


@given(st.binary())
def test_any_name_can_be_printed(name):
    shown = path_text(os.fsdecode(name))
    assert shown.isprintable()
    shown.encode()
    utf8_text(os.fsdecode(name)).encode()


@given(st.text())
def test_nothing_of_any_text_is_obeyed_by_a_terminal(text):
    shown = harmless(text)
    assert shown.replace("\n", "").isprintable()
    assert shown.count("\n") == text.count("\n")
    shown.encode()


def test_progress_is_told_in_files_bytes_rate_and_time_left():
    half = Progress(files=500, files_all=1000, size_bytes=5 << 20, size_bytes_all=10 << 20)
    assert words(half, 2.0) == "500 of 1,000 files, 5.0 MiB of 10.0 MiB, 2.5 MiB/s, 2 s left"
    assert words(Progress(0, 3, 0, 0), 1.0) == "0 of 3 files, 0 B of 0 B"
    assert words(half, 0.0) == "500 of 1,000 files, 5.0 MiB of 10.0 MiB"


def test_a_pipe_is_told_each_node_every_ten_seconds():
    said, now = [], [100.0]
    notes = Notes(said.append, lambda: now[0])
    for second in range(31):
        now[0] = 100.0 + second
        notes.show("mac-2", Progress(second, 100, second, 100))
    assert [line.split(" of ")[0] for line in said] == ["mac-2: 10", "mac-2: 20", "mac-2: 30"]
    notes.show("mac-3", Progress(1, 2, 1, 2))
    assert len(said) == 3, "a transfer that just began is not worth a word"
    notes.done("mac-2")
    notes.show("mac-2", Progress(0, 5, 0, 5))
    assert len(said) == 3
