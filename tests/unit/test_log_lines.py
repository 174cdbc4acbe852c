"""What `infra logs` makes of pieces: whole lines, distinct labels, characters in one piece."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra_tasks.cli.labels import WIDEST, labels, padded
from infra_tasks.cli.log_writers import JsonWriter, as_on_a_terminal
from infra_tasks.cli.whole_lines import WholeLines
from infra_tasks.follow import Gap, Piece

UUID = "3fa2c1d4-0000-4000-8000-00000000000"


def test_a_line_that_comes_in_pieces_is_one_line():
    lines = WholeLines()
    assert lines.add(b"one\ntw") == [b"one"]
    assert lines.add(b"") == []
    assert lines.add(b"o\n\nthr") == [b"two", b""]
    assert lines.end() == [b"thr"]
    assert lines.end() == []


def test_a_line_that_is_too_long_comes_in_parts_that_cut_no_character():
    lines = WholeLines(longest_bytes=10)
    assert lines.add(b"0123456789") == []
    assert lines.add(b"abc") == [b"0123456789"]
    assert lines.add(b"\n") == [b"abc"]
    assert lines.add("abcdefghié12\n".encode()) == [b"abcdefghi", "é12".encode()]
    assert lines.add(b"\x80" * 12 + b"\n") == [b"\x80" * 10, b"\x80" * 2], "bytes that are no text are parted anywhere"


@given(st.lists(st.binary(max_size=30)), st.integers(4, 40))
def test_nothing_is_lost_and_nothing_comes_twice(pieces, longest):
    lines = WholeLines(longest)
    found = [line for piece in pieces for line in lines.add(piece)] + lines.end()
    assert b"".join(found) == b"".join(pieces).replace(b"\n", b"")
    assert all(len(line) <= longest for line in found)


def test_a_run_is_labelled_by_its_name_or_the_beginning_of_its_id():
    assert labels([(UUID + "1", "train"), (UUID + "2", ""), ("nightly-7", "")]) == ["train", "3fa2c1d4", "nightly-7"]


def test_labels_are_distinct_also_where_names_begin_the_same():
    long = "a-very-long-name-of-an-experiment-"
    found = labels([("x1", long + "1"), ("x2", long + "2"), ("x3", "other"), ("x4", "same"), ("x5", "same")])
    assert found == [f"{long[: WIDEST - 1]}… x1", f"{long[: WIDEST - 1]}… x2", "other", "same x4", "same x5"]
    assert labels([(UUID + "1", ""), (UUID + "2", "")]) == [UUID + "1", UUID + "2"]


@given(
    st.lists(
        st.tuples(st.sampled_from([UUID + end for end in "123456"]), st.text(max_size=40)), unique_by=lambda one: one[0]
    )
)
def test_whatever_the_names_labels_are_distinct_and_printable(runs):
    found = labels(runs)
    assert len(set(found)) == len(runs)
    assert all(label.isprintable() and label for label in found)


def test_labels_are_as_wide_as_the_widest_also_with_wide_characters():
    assert padded(["漢字", "abcde", ""]) == ["漢字 ", "abcde", "     "]


@pytest.mark.parametrize(
    ("line", "seen"), [(b"10%\r20%\r30%", b"30%"), (b"windows\r", b"windows"), (b"plain", b"plain"), (b"\r", b"")]
)
def test_a_line_that_is_written_over_itself_does_not_write_over_its_label(line, seen):
    assert as_on_a_terminal(line) == seen


def printed(capsys):
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_a_character_that_comes_in_two_pieces_is_one_in_json(capsys):
    writer = JsonWriter()
    data = "aé漢".encode()
    for at, byte in enumerate(data):
        writer.write("r", Piece("stdout", 1, at, bytes([byte])))
    assert [(one["offset"], one["text"]) for one in printed(capsys)] == [(0, "a"), (1, "é"), (3, "漢")]


@pytest.mark.parametrize("last", [Gap("stdout", 1, 2, 9), Piece("stdout", 2, 0, b"x"), None])
def test_what_is_held_back_is_told_before_what_does_not_continue_it(capsys, last):
    writer = JsonWriter()
    writer.write("r", Piece("stdout", 1, 0, b"a\xe6"))
    if last:
        writer.write("r", last)
    else:
        writer.end("r")
    said = printed(capsys)
    assert said[1] == {"run": "r", "stream": "stdout", "attempt": 1, "offset": 1, "text": "\ufffd"}
    assert len(said) == (3 if last else 2)
