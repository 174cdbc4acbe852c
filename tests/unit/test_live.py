"""The entries of live attempts, and the small files around an attempt that cost no new inode."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from infra_tasks import live
from infra_tasks.live import Token
from infra_tasks.runner.attempt import ROOM_BYTES, Attempt, write_json_once, write_over
from infra_tasks.settings import Home

ROOT = Path(__file__).parents[2]
TOKEN = Token("run-1", 1, "0123456789abcdef")


@pytest.fixture
def home(tmp_path):
    (tmp_path / "live").mkdir()
    return Home(tmp_path)


@pytest.fixture
def attempt(home):
    return Attempt(home.attempt(TOKEN.run, TOKEN.attempt))


def test_an_entry_carries_the_claim_and_is_gone_after_leaving(home, attempt):
    lock = attempt.take_lock()
    live.enter(home, TOKEN)
    assert [one.token for one in live.attempts(home)] == [TOKEN]
    assert live.is_noted(home, TOKEN)
    live.leave(home, TOKEN)
    assert not list(live.attempts(home))
    assert attempt.is_locked()
    os.close(lock)


def test_a_second_claim_of_the_same_attempt_replaces_the_first(home, attempt):
    lock = attempt.take_lock()
    live.enter(home, TOKEN)
    again = TOKEN._replace(claim="fedcba9876543210")
    live.enter(home, again)
    assert [one.token for one in live.attempts(home)] == [again]
    os.close(lock)


def test_an_attempt_without_a_folder_can_be_noted(home):
    live.enter(home, TOKEN)
    assert [one.token for one in live.attempts(home)] == [TOKEN]


FULL = """
import os, resource, sys
from pathlib import Path
from infra_tasks import live
from infra_tasks.live import Token
from infra_tasks.settings import Home
resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
try:
    live.enter(Home(Path(sys.argv[1])), Token("run-1", 1, "0123456789abcdef"))
except OSError:
    sys.exit(7)
"""


def test_an_entry_there_is_no_room_for_leaves_nothing_behind(home):
    done = subprocess.run([sys.executable, "-c", FULL, home.root], check=False, cwd=ROOT)
    assert done.returncode == 7
    assert not list(home.live.iterdir())


def test_an_attempt_that_was_not_given_leaves_no_trace(home, attempt):
    lock = attempt.take_lock()
    attempt.forget()
    assert not (home.runs / TOKEN.run).exists()
    os.close(lock)


def test_an_attempt_that_left_something_is_not_removed(attempt):
    lock = attempt.take_lock()
    attempt.write_record({"run": "run-1"})
    attempt.forget()
    assert attempt.record() == {"run": "run-1"}
    os.close(lock)


def test_what_is_written_over_is_whole_json_of_the_same_size(attempt):
    os.close(attempt.take_lock())
    assert write_json_once(attempt.path, "started.json", {"pid": None})
    write_over(attempt.path, "started.json", {"pid": 12345})
    assert attempt.started() == {"pid": 12345}
    assert (attempt.folder / "started.json").stat().st_size == ROOM_BYTES
    write_over(attempt.path, "started.json", {"long": "x" * ROOM_BYTES})
    assert attempt.started() == {"long": "x" * ROOM_BYTES}


def test_a_report_is_noted_with_its_moment_and_needs_no_exit_record(attempt):
    os.close(attempt.take_lock())
    attempt.note_report()
    noted = attempt.folder / "reported"
    assert noted.stat().st_mtime > 0
    noted.unlink()
    (attempt.folder / "exit.json").write_text(json.dumps({"outcome": "exited"}))
    os.utime(attempt.folder / "exit.json", (1, 1))
    attempt.note_report()
    assert noted.stat().st_mtime > 1
