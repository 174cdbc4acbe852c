"""Bytes as they come, cut into lines."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from infra_tasks.model.output_line import LONGEST_LINE_BYTES, LineCutter, OutputLine


def texts(lines):
    return [line.text for line in lines]


def test_a_line_is_given_once_its_newline_is_there_and_the_last_one_at_the_end():
    cutter = LineCutter()
    assert texts(cutter.add("stdout", 1, b"one\ntw")) == ["one"]
    assert texts(cutter.add("stdout", 1, b"o\r\n\nthree")) == ["two", ""]
    assert cutter.end() == [OutputLine("stdout", 1, "three")]
    assert cutter.end() == []


def test_each_stream_has_lines_of_its_own():
    cutter = LineCutter()
    assert cutter.add("stdout", 1, b"half a ") == []
    assert cutter.add("stderr", 1, b"oh\n") == [OutputLine("stderr", 1, "oh")]
    assert cutter.add("stdout", 1, b"line\n") == [OutputLine("stdout", 1, "half a line")]


def test_what_an_attempt_left_without_a_newline_comes_before_the_next_attempt():
    cutter = LineCutter()
    cutter.add("stderr", 1, b"died here")
    assert cutter.add("stdout", 2, b"again\n") == [
        OutputLine("stderr", 1, "died here"),
        OutputLine("stdout", 2, "again"),
    ]


def test_bytes_that_are_no_utf8_are_replaced_and_nothing_else_is_lost():
    assert texts(LineCutter().add("stdout", 1, b"caf\xc3\xa9 \xff!\n")) == ["caf\N{LATIN SMALL LETTER E WITH ACUTE} �!"]


def test_a_gap_says_so_behind_what_was_there_before_it():
    cutter = LineCutter()
    cutter.add("stdout", 1, b"cut o")
    assert cutter.gap("stdout", 1, "100 bytes are missing") == [
        OutputLine("stdout", 1, "cut o"),
        OutputLine("stdout", 1, "100 bytes are missing", is_gap=True),
    ]


def test_a_line_without_an_end_comes_in_parts_that_cut_no_character_in_two():
    cutter, text = LineCutter(), "x" + "\N{SNOWMAN}" * LONGEST_LINE_BYTES
    lines = [
        line for at in range(10) for line in cutter.add("stdout", 1, text.encode()[at * 20_000 : (at + 1) * 20_000])
    ]
    assert len(lines) > 1
    assert all(len(line.text.encode()) <= LONGEST_LINE_BYTES for line in lines)
    assert "".join(texts([*lines, *cutter.end()])) == text


def test_a_line_is_printed_as_its_text():
    assert f"{OutputLine('stdout', 1, 'hello')}" == "hello"


@given(st.lists(st.binary(max_size=9), max_size=20))
def test_the_lines_are_the_same_however_the_bytes_come(pieces):
    together, cutter = LineCutter(), LineCutter()
    expected = [*together.add("stdout", 1, b"".join(pieces)), *together.end()]
    found = [line for piece in pieces for line in cutter.add("stdout", 1, piece)]
    assert [*found, *cutter.end()] == expected
