"""`infra top` as a person has it: a real terminal, keys, a fleet that stops answering, and the way out."""

from __future__ import annotations

import json
import os
import re
import signal

import psutil
import pytest
from redis_process import RedisProcess
from run_fleet import fleet_at
from waiting import eventually
from window import Window

KEYS = "q quit"


@pytest.fixture
def top(fleet):
    with Window(fleet.home.root, "top") as window:
        yield window


def left(window, code):
    """It ends by itself, with this exit code, and the terminal is as before."""
    assert window.is_restored_after(code)
    assert "Traceback" not in window.seen
    return True


def test_live_runs_are_shown_filtered_followed_and_cancelled(fleet, top):
    taken = fleet.takes(fleet.accepts("echo", "runs", name="first"))
    waiting = fleet.accepts("echo", "waits", name="second")
    text = top.comes_to(lambda text: all(words in text for words in ("n1", "first:", "second: echo waits", KEYS)))
    assert text.index("n1") < text.index("first: echo runs") < text.index("second: echo waits") < text.index(KEYS)

    top.types("/")
    top.comes_to("Enter keep")
    top.types("secon")
    top.comes_to(lambda text: "filter: secon_" in text and "first:" not in text)
    top.types("\x1b")
    top.comes_to(lambda text: "first:" in text and KEYS in text)

    taken.writes(b"one\ntw")
    top.types("gl")
    top.comes_to(lambda text: "Esc back" in text and taken.id[:8] in text)
    taken.writes(b"o\n\x1b[2Jthree\n")
    text = top.comes_to(lambda text: "three" in text and "two" in text)
    assert [line for line in text.splitlines() if line in {"one", "tw", "two", "o", "three"}] == ["one", "two", "three"]
    top.types("\x1b")
    top.comes_to("second: echo waits")

    top.types("j")
    top.types("c")
    top.comes_to(f"cancel run {waiting[:8]}? y/n")
    top.types("n")
    top.comes_to(KEYS)
    assert fleet.ledger.runs.peek(waiting)[0] == "QUEUED"
    top.types("c")
    top.comes_to(f"cancel run {waiting[:8]}? y/n")
    top.types("y")
    top.comes_to(lambda text: f"run {waiting[:8]} is REVOKED" in text and "second:" not in text)
    assert fleet.ledger.runs.peek(waiting)[0] == "REVOKED"

    top.types("q")
    assert left(top, 0)


def test_a_new_size_is_drawn_at_once_and_a_narrow_one_too(fleet, top):
    fleet.accepts("echo", "漢字" * 60, node="n1", name="wide")
    top.comes_to("wide: echo")
    for columns, rows in ((40, 10), (20, 4), (130, 20)):
        top.resize(columns, rows)
        text = top.comes_to(lambda text, rows=rows: len(top.shown) == rows and top.shown[-1].startswith("q quit"))
        assert text.count("q quit") == 1
    erased_behind = re.findall(r"(.{12})\x1b\[[KJ]", top.seen, re.DOTALL)
    assert {each.removesuffix("\x1b[0m")[-1] for each in erased_behind} == {"H", "\n"}, "a last column would be lost"
    top.types("\x03")
    assert left(top, 130)


@pytest.mark.parametrize(("key", "code"), [("q", 0), ("\x03", 130)])
def test_one_key_ends_it_while_redis_is_frozen_even_in_the_middle_of_a_cancel(fleet, own_redis, top, key, code):
    fleet.accepts("echo", "waits")
    top.comes_to("echo waits")
    os.kill(own_redis.process.pid, signal.SIGSTOP)
    try:
        top.comes_to("has not answered for")
        top.types("c")
        top.comes_to("? y/n")
        top.types("y")
        top.comes_to("to stop...")
        top.types(key)
        assert left(top, code)
        assert own_redis.process.poll() is None
    finally:
        os.kill(own_redis.process.pid, signal.SIGCONT)


def test_it_goes_on_when_redis_is_back(tmp_path):
    own = RedisProcess(tmp_path / "redis").start()
    try:
        for fleet in fleet_at(tmp_path / "home", own.url):
            fleet.accepts("echo", "before")
            with Window(fleet.home.root, "top") as window:
                window.comes_to("echo before")
                own.kill()
                window.comes_to("has not answered for")
                assert "echo before" in window.look(), "what was seen last stays"
                own.start()
                eventually(lambda fleet=fleet: fleet.accepts("echo", "after"), said="the fleet takes runs again")
                window.comes_to(lambda text: "echo after" in text and "not answered" not in text)
                window.types("q")
                assert left(window, 0)
    finally:
        own.kill()


def test_a_signal_and_ctrl_z_give_the_terminal_back(fleet, top):
    top.comes_to(KEYS)
    os.kill(top.process.pid, signal.SIGTSTP)
    eventually(lambda: is_stopped(top.process.pid), said="it stands still")
    eventually(lambda: [top.look(), top.is_restored][1], said="all it wrote before that was read")
    os.kill(top.process.pid, signal.SIGCONT)
    fleet.accepts("echo", "meanwhile")
    top.comes_to("echo meanwhile")
    assert not top.is_restored
    os.kill(top.process.pid, signal.SIGTERM)
    assert left(top, -signal.SIGTERM)


def is_stopped(pid):
    return psutil.Process(pid).status() == psutil.STATUS_STOPPED


def test_without_a_terminal_it_is_one_picture(fleet):
    run_id = fleet.accepts("echo", "once", name="n")
    done = fleet.infra("top")
    assert (done.code, done.err) == (0, "")
    assert "\x1b" not in done.out
    assert all(words in done.out for words in ("NODE", "never seen", "n: echo once", "QUEUED"))
    said = fleet.json("top")
    assert said["runs"][0]["id"] == run_id
    assert (said["nodes"][0]["name"], said["counts"]["QUEUED"]) == ("n1", 1)
    assert json.loads(fleet.infra("nodes", "--json").out)[0]["state"] == "never seen"
