"""`infra logs` as a process, through pipes and on a terminal, against a real Redis; the test writes what runs write."""

from __future__ import annotations

import json
import os
import pty
import subprocess
from contextlib import suppress

import pytest
from cli_process import INFRA, Terminal, environment
from redis_process import RedisProcess
from run_fleet import fleet_at, started

from infra_tasks.cli.whole_lines import LONGEST_LINE_BYTES


@pytest.fixture
def fleet(shared_fleet):
    return shared_fleet


@pytest.fixture
def two(fleet):
    """Two runs, named `left` and `right`, that were taken."""
    return fleet.takes(fleet.accepts(name="left")), fleet.takes(fleet.accepts(name="right"))


def test_the_last_lines_of_each_stream_can_be_had_alone(fleet):
    taken = fleet.takes(fleet.accepts())
    taken.writes(b"1\n2\n3\n")
    taken.writes(b"e1\ne2\n", "stderr")
    done = fleet.infra("logs", taken.id, "--tail", "1")
    assert (done.code, done.out, done.err) == (0, "3\n", "e2\n")
    done = fleet.infra("logs", taken.id, "--tail", "2", "--stdout", "--since", "1h")
    assert (done.code, done.out, done.err) == (0, "2\n3\n", "")


def test_what_was_written_long_ago_can_be_left_out(fleet):
    taken = fleet.takes(fleet.accepts())
    taken.writes(b"old\n")
    path = taken.folder.folder / "moments.stdout"
    offset, moment = path.read_bytes()[:8], int.from_bytes(path.read_bytes()[8:], "little")
    path.write_bytes(offset + (moment - 3600 * 1_000_000).to_bytes(8, "little"))
    done = fleet.infra("logs", taken.id, "--since", "10m")
    assert (done.code, done.out) == (0, "")
    assert "nothing of what was asked for" in done.err
    assert fleet.infra("logs", taken.id, "--since", "2h").out == "old\n"
    assert "90s" in fleet.infra("logs", taken.id, "--since", "soon").err


def test_lines_of_several_runs_are_whole_and_labelled_and_their_streams_kept_apart(fleet, two):
    left, right = two
    with started(fleet, "logs", "-f", left.id, right.id) as process:
        left.writes(b"one\nha")
        assert process.stdout.readline() == b"left  | one\n"
        right.writes(b"oops\n", "stderr")
        assert process.stderr.readline() == b"right | oops\n"
        left.writes(b"lf\n")
        assert process.stdout.readline() == b"left  | half\n"
        right.writes(b"x" * (LONGEST_LINE_BYTES + 1) + b"\n")
        assert process.stdout.readline() == b"right | " + b"x" * LONGEST_LINE_BYTES + b"\n"
        assert process.stdout.readline() == b"right | x\n"
        left.writes(b"no end")
        left.ends()
        assert process.stdout.readline() == b"left  | no end\n", (
            "its last line is completed, though the other run goes on"
        )
        right.ends()
        assert process.wait(180) == 0


def test_a_run_named_twice_is_read_once_and_a_beginning_of_its_id_will_do(fleet, two):
    left, right = two
    left.writes(b"once\n")
    done = fleet.infra("logs", left.id[:12], left.id, right.id[:12])
    assert (done.code, done.out) == (0, "left  | once\n")
    assert "right" in done.err or right.id[:8] in done.err


def test_all_ids_that_are_no_runs_are_told_at_once(fleet, two):
    done = fleet.infra("logs", "never", two[0].id, "nobody")
    assert (done.code, done.out) == (2, "")
    assert "'never'" in done.err
    assert "'nobody'" in done.err
    done = fleet.infra("logs", two[0].id, two[1].id, "--attempt", "2")
    assert done.code == 2
    assert done.err.count("no attempt 2") == 2


def test_a_run_without_output_says_so_on_stderr(fleet):
    waiting = fleet.accepts()
    done = fleet.infra("logs", waiting)
    assert (done.code, done.out) == (0, "")
    assert "nothing yet: it is QUEUED" in done.err
    fleet.ledger.runs.cancel(waiting)
    assert "has written nothing\n" in fleet.infra("logs", waiting).err


def test_in_json_every_piece_says_whose_it_is(fleet, two):
    for taken in two:
        taken.writes(b"out\n")
    done = fleet.infra("logs", two[0].id, two[1].id, "--json")
    said = [json.loads(line) for line in done.out.splitlines()]
    assert sorted(one["run"] for one in said) == sorted(taken.id for taken in two)
    assert done.err == ""


def coloured(fleet, *line, terminal_is):
    """Run with one stream on a terminal, the other in a pipe; return what came to (terminal, pipe)."""
    ours, theirs = pty.openpty()
    ends = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, terminal_is: theirs}
    process = subprocess.Popen([*INFRA, *line], env=environment(fleet.home.root), stdin=subprocess.DEVNULL, **ends)
    os.close(theirs)
    out, err = process.communicate(timeout=180)
    return read_whole(ours), out or err


def read_whole(terminal):
    """Return what a terminal was sent by those who have left it."""
    data = b""
    with os.fdopen(terminal, "rb", buffering=0) as file, suppress(OSError):  # EIO is its end
        while piece := file.read(65536):
            data += piece
    return data


def test_labels_have_colours_only_where_their_own_stream_is_a_terminal(fleet, two):
    left, right = two
    for taken in two:
        taken.writes(b"out\n")
        taken.writes(b"err\n", "stderr")
    line = ("logs", left.id, right.id)
    shown, piped = coloured(fleet, *line, terminal_is="stdout")
    assert b"\x1b[36m" in shown
    assert sorted(piped.splitlines()) == [b"left  | err", b"right | err"]
    shown, piped = coloured(fleet, *line, terminal_is="stderr")
    assert b"\x1b[36m" in shown
    assert sorted(piped.splitlines()) == [b"left  | out", b"right | out"]


def test_ctrl_c_ends_the_reading_of_several_runs_with_whole_lines(fleet, two):
    for taken in two:
        taken.writes(b"one\nunfinished")
    with Terminal(fleet.home.root, "logs", "-f", *[taken.id for taken in two]) as terminal:
        terminal.shows("left  |")
        terminal.shows("right |")
        assert "unfinished" not in terminal.seen
        terminal.types("\x03")
        assert terminal.ends() == 130
    assert terminal.seen.count("unfinished\r\n") == 2
    assert "Traceback" not in terminal.seen


def test_several_runs_are_read_on_while_redis_is_away_and_that_is_said_once(tmp_path):
    (tmp_path / "redis").mkdir()
    own = RedisProcess(tmp_path / "redis").start()
    try:
        for fleet in fleet_at(tmp_path / "home", own.url):
            left, right = [fleet.takes(fleet.accepts(name=name)) for name in ("left", "right")]
            with Terminal(fleet.home.root, "logs", "-f", left.id, right.id, NO_COLOR="1") as terminal:
                for taken in (left, right):
                    taken.writes(b"before\n")
                terminal.shows("right | before")
                terminal.shows("left  | before")
                own.kill()
                terminal.shows("does not answer")
                right.writes(b"meanwhile\n")
                terminal.shows("right | meanwhile")
                own.start()
                terminal.shows("answers again")
                left.ends()
                right.ends()
                assert terminal.ends() == 0
            assert terminal.seen.count("does not answer") == 1
            assert terminal.seen.count("meanwhile") == 1
    finally:
        own.kill()
