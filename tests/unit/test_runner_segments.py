"""Segments: written under a cap, read with gaps."""

from __future__ import annotations

from itertools import pairwise

import pytest

from infra_tasks.runner import output
from infra_tasks.runner.output import Segments

DATA = bytes(number % 251 for number in range(10_000))


@pytest.mark.parametrize("piece", [1, 7, 99, 100, 101, 1000, 10_000])
def test_head_and_tail_are_kept_whatever_the_pieces(tmp_path, piece):
    segments = Segments(str(tmp_path), "stdout", 300)
    for start in range(0, 9_950, piece):
        segments.write(DATA[start : min(start + piece, 9_950)])
        assert sum(path.stat().st_size for path in tmp_path.glob("stdout.*")) <= 300
    segments.close()
    head = output.read(tmp_path, "stdout", 0, 1000)
    assert head == (DATA[:100], 0, 100)
    middle = output.read(tmp_path, "stdout", head.next_offset, 1000)
    assert middle == (DATA[9_800:9_900], 9_800, 9_900)
    assert output.read(tmp_path, "stdout", middle.next_offset, 1000) == (DATA[9_900:9_950], 9_900, 9_950)
    assert output.read(tmp_path, "stdout", 9_950, 1000) == (b"", 9_950, 9_950)
    assert output.size(tmp_path, "stdout") == 9_950


def test_a_reader_may_ask_for_little_and_from_anywhere(tmp_path):
    segments = Segments(str(tmp_path), "stdout", 30_000)
    segments.write(DATA)
    segments.close()
    assert output.read(tmp_path, "stdout", 5_000, 3) == (DATA[5_000:5_003], 5_000, 5_003)
    offsets, data = [0], b""
    while (chunk := output.read(tmp_path, "stdout", offsets[-1], 777)).data:
        offsets.append(chunk.next_offset)
        data += chunk.data
    assert data == DATA
    assert all(first < second for first, second in pairwise(offsets))


def test_streams_and_strangers_are_kept_apart(tmp_path):
    (tmp_path / "stdout.txt").write_text("a stranger's file")
    (tmp_path / "stdout.00000000000000000000.bak").write_text("another")
    segments = Segments(str(tmp_path), "stderr", 300)
    segments.write(b"err")
    segments.close()
    assert output.read(tmp_path, "stdout", 0, 100).data == b""
    assert output.size(tmp_path, "stdout") == 0
    assert output.tail(tmp_path, "stderr", 100) == "err"


def test_no_output_is_no_file_and_no_folder_is_no_output(tmp_path):
    segments = Segments(str(tmp_path), "stdout", 300)
    segments.write(b"")
    segments.close()
    assert list(tmp_path.iterdir()) == []
    assert output.tail(tmp_path / "nowhere", "stdout", 100) == ""
    assert output.read(tmp_path / "nowhere", "stdout", 5, 100) == (b"", 5, 5)


def test_a_tail_never_begins_within_a_character(tmp_path):
    segments = Segments(str(tmp_path), "stdout", 3000)
    segments.write("äöü€😀".encode())
    segments.close()
    assert output.tail(tmp_path, "stdout", 7) == "€😀"
    assert output.tail(tmp_path, "stdout", 6) == "😀"
    assert output.tail(tmp_path, "stdout", 4) == "😀"
    assert output.tail(tmp_path, "stdout", 2) == ""
    assert output.tail(tmp_path, "stdout", 1000) == "äöü€😀"


def test_a_tail_goes_over_segments_but_not_over_a_gap(tmp_path):
    segments = Segments(str(tmp_path), "stdout", 30)
    segments.write(b"a" * 10 + b"b" * 10 + b"c" * 10 + b"d" * 5)
    segments.close()
    assert output.tail(tmp_path, "stdout", 12) == "c" * 7 + "d" * 5
    assert output.tail(tmp_path, "stdout", 100) == "c" * 10 + "d" * 5


def test_what_the_disk_refuses_is_counted_and_the_rest_is_kept(tmp_path):
    folder = tmp_path / "run"
    segments = Segments(str(folder), "stdout", 3000)
    segments.write(b"lost")
    folder.mkdir()
    segments.write(b"kept")
    segments.close()
    assert segments.dropped_bytes == 4
    assert "No such file" in segments.refusal
    assert output.tail(folder, "stdout", 100) == "kept"
