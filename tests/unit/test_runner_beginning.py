"""Where a reader begins: at the last lines, or at what was written after a moment."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra_tasks.errors import BadInput
from infra_tasks.model.begin import Begin
from infra_tasks.runner import beginning, output
from infra_tasks.runner.moments import EVERY_S, Moments, written_after
from infra_tasks.runner.output import Segments


def written(folder, data, cap_bytes=3_000_000):
    segments = Segments(str(folder), "stdout", cap_bytes)
    segments.write(data)
    segments.close()
    return folder


def last(folder, lines, most_bytes=beginning.LOOKED_BACK_BYTES):
    return beginning.last_lines(folder, "stdout", lines, most_bytes)


@pytest.mark.parametrize(
    ("data", "lines", "expected"),
    [
        (b"one\ntwo\nthree\n", 1, b"three\n"),
        (b"one\ntwo\nthree\n", 2, b"two\nthree\n"),
        (b"one\ntwo\nthree\n", 3, b"one\ntwo\nthree\n"),
        (b"one\ntwo\nthree\n", 9, b"one\ntwo\nthree\n"),
        (b"one\ntwo\nunfinished", 1, b"unfinished"),
        (b"one\ntwo\nunfinished", 2, b"two\nunfinished"),
        (b"one\n\n\n", 2, b"\n\n"),
        (b"one\ntwo\n", 0, b""),
        (b"", 3, b""),
    ],
)
def test_the_last_lines_are_found_and_an_unfinished_one_is_a_line(tmp_path, data, lines, expected):
    written(tmp_path, data)
    assert data[last(tmp_path, lines) :] == expected


@given(st.lists(st.integers(0, 40), max_size=60), st.integers(0, 70), st.integers(1, 60), st.booleans())
def test_whatever_blocks_are_read_the_same_lines_are_found(tmp_path_factory, lengths, lines, block, unfinished):
    folder = tmp_path_factory.mktemp("run")
    data = b"".join(b"x" * length + b"\n" for length in lengths) + (b"rest" if unfinished else b"")
    written(folder, data, cap_bytes=3 * max(1, len(data)))
    before, output.BLOCK_BYTES = output.BLOCK_BYTES, block
    try:
        found = data[last(folder, lines) :]
    finally:
        output.BLOCK_BYTES = before
    assert found == b"".join(data.splitlines(keepends=True)[-lines:] if lines else [])


def test_lines_are_looked_for_in_all_that_was_kept_and_a_gap_ends_a_line(tmp_path):
    written(tmp_path, b"head1\nhead2\n" + b"m" * 1000 + b"\n9\ntail1\ntail", cap_bytes=36)  # segments of 12 bytes
    size = output.size(tmp_path, "stdout")
    kept_from = min(start for start in output._starts(tmp_path, "stdout") if start > 0)
    assert last(tmp_path, 2) == size - len(b"tail1\ntail")
    behind_the_gap = output.read(tmp_path, "stdout", kept_from, 100).data.count(b"\n")
    assert last(tmp_path, 4) == kept_from, f"the rest of the cut line, {behind_the_gap} line ends behind it"
    assert last(tmp_path, 5) == len(b"head1\n")
    assert last(tmp_path, 6) == last(tmp_path, 60) == 0


def test_looking_back_is_bounded_and_costs_nothing_for_what_was_dropped(tmp_path, monkeypatch):
    written(tmp_path, b"h" * 100 + b"m" * 5_000_000 + b"t" * 150, cap_bytes=300)
    read = []
    monkeypatch.setattr(output, "_read_segment", lambda *asked: read.append(asked[-1]) or real(*asked))
    assert last(tmp_path, 5, most_bytes=1 << 30) == 0
    assert sum(read) <= 300
    assert last(tmp_path, 5, most_bytes=10) == output.size(tmp_path, "stdout") - 10


real = output._read_segment


def noted(folder, *written_at):
    """Write a byte at each of these moments."""
    now = [0.0]
    moments = Moments(str(folder), "stdout", lambda: now[0])
    for offset, at in enumerate(written_at):
        now[0] = at
        moments.note(offset)
    moments.close()


@given(
    st.lists(st.floats(0, 20), min_size=1, max_size=40).map(sorted),
    st.floats(-1, 21),
)
def test_all_that_was_written_after_a_moment_is_found_with_at_most_a_second_more(tmp_path_factory, written_at, moment):
    folder = tmp_path_factory.mktemp("run")
    noted(folder, *written_at)
    begin = written_after(folder, "stdout", moment, end=len(written_at))
    assert all(at <= moment for at in written_at[:begin])
    assert all(at >= moment - EVERY_S - 0.001 for at in written_at[begin:])


def test_a_clock_that_was_set_back_leaves_nothing_out(tmp_path):
    noted(tmp_path, 1000.0, 1001.0, 10.0, 11.0)
    assert written_after(tmp_path, "stdout", 9.0, end=4) == 0
    assert written_after(tmp_path, "stdout", 1000.5, end=4) <= 2


def test_without_records_all_is_told(tmp_path):
    assert written_after(tmp_path, "stdout", 5.0, end=100) == 0


def test_a_record_that_was_cut_off_is_passed_over(tmp_path):
    noted(tmp_path, 10.0, 20.0)
    with (tmp_path / "moments.stdout").open("ab") as file:
        file.write(b"\x07" * 9)
    assert written_after(tmp_path, "stdout", 15.0, end=2) == 1
    assert written_after(tmp_path, "stdout", 100.0, end=2) == 2


def test_both_asked_for_begin_at_the_later_one(tmp_path):
    written(tmp_path, b"one\ntwo\nthree\n")
    assert beginning.offset_of(tmp_path, "stdout", Begin(tail=1, since=0.0)) == 8
    assert beginning.offset_of(tmp_path, "stdout", Begin(tail=9, since=1e12)) == 14
    assert beginning.offset_of(tmp_path, "stdout", Begin()) == 0


@pytest.mark.parametrize(
    "wrong", [{"tail": -1}, {"tail": 1.5}, {"tail": True}, {"since": float("nan")}, {"since": "1h"}]
)
def test_what_is_no_beginning_is_refused(wrong):
    with pytest.raises(BadInput, match=next(iter(wrong))):
        Begin(**wrong)
