from __future__ import annotations

import os
from typing import TYPE_CHECKING

from workers.log_file import follow, keep_small, last_lines, open_log

if TYPE_CHECKING:
    from pathlib import Path


def test_a_log_that_grew_too_big_is_moved_aside_and_two_files_are_all_there_ever_are(tmp_path: Path):
    log = tmp_path / "role.log"
    for turn in range(3):
        log.write_text(f"turn {turn} " * 10)
        assert keep_small(log, cap_bytes=50)
    assert [path.name for path in tmp_path.iterdir()] == ["role.log.1"]
    assert "turn 2" in (tmp_path / "role.log.1").read_text()


def test_a_small_or_missing_log_is_left_alone(tmp_path: Path):
    log = tmp_path / "role.log"
    assert not keep_small(log, cap_bytes=50)
    log.write_text("short")
    assert not keep_small(log, cap_bytes=50)
    assert log.read_text() == "short"


def test_a_writer_goes_on_in_the_new_file_and_loses_no_line(tmp_path: Path):
    log = tmp_path / "role.log"
    out, err = open_log(log), open_log(log)
    os.write(out, b"first\n")
    assert not follow(log, out, err)
    keep_small(log, cap_bytes=1)
    os.write(err, b"second\n")
    assert follow(log, out, err)
    os.write(out, b"third\n")
    os.write(err, b"fourth\n")
    assert (tmp_path / "role.log.1").read_text() == "first\nsecond\n"
    assert log.read_text() == "third\nfourth\n"
    os.close(out)
    os.close(err)


def test_what_is_no_log_of_ours_is_never_turned(tmp_path: Path):
    other = os.open(tmp_path / "terminal", os.O_CREAT | os.O_WRONLY)
    open_and_closed = tmp_path / "role.log"
    os.close(open_log(open_and_closed))
    assert not follow(open_and_closed, other)
    os.write(other, b"here")
    os.close(other)
    assert (tmp_path / "terminal").read_text() == "here"


def test_the_last_lines_of_a_log_are_the_last_ones(tmp_path: Path):
    log = tmp_path / "role.log"
    log.write_text("".join(f"line {number}\n" for number in range(10_000)))
    assert last_lines(log, 2) == "line 9998\nline 9999"
    assert last_lines(tmp_path / "none") == ""
