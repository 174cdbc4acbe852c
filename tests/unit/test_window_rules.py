"""The decisions of the window: who comes in, what opens once, and what is shown of a run."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import sys

import pytest
import redis_process
from celery.events.state import State as Memory
from tornado.web import HTTPError

from infra_tasks.errors import FleetUnreachable
from infra_tasks.ledger.records import Run
from infra_tasks.model.fleet import parse_fleet
from infra_tasks.model.hint import RUN_TASK
from infra_tasks.model.outcome import result_of
from infra_tasks.model.run import Reason, State
from infra_tasks.request import foreign_shown
from infra_tasks.settings import Home, has_browser
from infra_tasks.web.admission import SESSION_S, Admission, refusal
from infra_tasks.web.catching_up import UNKNOWN_FOR_S, put_right, unsure
from infra_tasks.web.doorkey import LIFE_S, new_key, take_key
from infra_tasks.web.peer import CONNECTIONS, is_stranger, uid_in
from infra_tasks.web.window import Runner
from workers.flower import free_port, is_due
from workers.node_file import kept_port

NOW = 1_700_000_000.0
ADMISSION = Admission("secret", cookie="infra-1")


def test_the_password_or_a_session_made_with_it_comes_in():
    session = ADMISSION.session(NOW)
    assert ADMISSION.admits(ADMISSION.basic, "", NOW)
    assert ADMISSION.admits("", session, NOW)
    assert ADMISSION.admits("", session, NOW + SESSION_S - 1)
    assert "secret" not in repr(ADMISSION)


def test_nothing_else_comes_in():
    session = ADMISSION.session(NOW)
    until, _, signature = session.partition(".")
    assert not ADMISSION.admits("", "", NOW)
    assert not ADMISSION.admits("Basic x", "", NOW)
    assert not ADMISSION.admits("", session, NOW + SESSION_S), "a session ends"
    assert not ADMISSION.admits("", session, NOW - 10), "one that lives too long was not made here"
    assert not ADMISSION.admits("", f"{int(until) + 1}.{signature}", NOW)
    assert not ADMISSION.admits("", Admission("other", cookie="infra-1").session(NOW), NOW), "a new password ends all"
    for odd in (".", "x.y", f"{until}.é", "\udcff.\udcff", f"{until}.{signature}0"):
        assert not ADMISSION.admits(odd, odd, NOW)


def test_a_key_opens_once_and_a_wrong_one_does_not_burn_it(tmp_path):
    home = Home(tmp_path)
    key, other = new_key(home, NOW), new_key(home, NOW)
    assert not take_key(home, "wrong", NOW)
    assert not take_key(home, "", NOW)
    assert not take_key(home, "\udcff", NOW)
    assert take_key(home, key, NOW + 1)
    assert not take_key(home, key, NOW + 1)
    assert take_key(home, other, NOW + 1)


def test_a_key_that_nobody_used_is_worth_nothing_soon_and_is_removed(tmp_path):
    home = Home(tmp_path)
    for at in (NOW + LIFE_S + 1, NOW - 5):
        key = new_key(home, NOW)
        assert not take_key(home, key, at)
        assert list((home.root / "flower" / "keys").iterdir()) == []


def test_keys_nobody_used_do_not_pile_up(tmp_path):
    home = Home(tmp_path)
    for hour in range(3):
        new_key(home, NOW + hour * 3600)
    assert len(list((home.root / "flower" / "keys").iterdir())) == 1


def test_of_two_who_use_a_key_at_once_one_comes_in(tmp_path, monkeypatch):
    home = Home(tmp_path)
    key = new_key(home, NOW)
    second = []
    unlink = type(home.root).unlink

    def first_lets_another_go_ahead(path, *, missing_ok):
        monkeypatch.undo()
        second.append(take_key(home, key, NOW))
        unlink(path, missing_ok=missing_ok)

    monkeypatch.setattr(type(home.root), "unlink", first_lets_another_go_ahead)
    assert take_key(home, key, NOW) is False
    assert second == [True]


@pytest.mark.parametrize("host", ["127.0.0.1:1", "localhost", "LOCALHOST:80", "[::1]:5", "127.0.0.1"])
def test_the_names_of_this_machine_are_answered(host):
    assert refusal("GET", {"Host": host}) is None


@pytest.mark.parametrize(
    "host", ["", "evil.example", "127.0.0.1.evil.example", "localhost.evil", "[::1", "user@evil", "::1:"]
)
def test_other_names_are_refused(host):
    assert refusal("GET", {"Host": host})


def test_what_changes_something_comes_from_our_own_page_or_from_none():
    here = {"Host": "127.0.0.1:1"}
    for method in ("POST", "PUT", "DELETE", "OPTIONS"):
        assert refusal(method, here) is None
        assert refusal(method, {**here, "Origin": "http://127.0.0.1:1", "Sec-Fetch-Site": "same-origin"}) is None
        for wrong in ("http://127.0.0.1:2", "http://localhost:1", "https://evil.example", "null", ""):
            assert refusal(method, {**here, "Origin": wrong})
        assert refusal(method, {**here, "Sec-Fetch-Site": "same-site"})


def task_of(memory, run_id, state, at=NOW, name=RUN_TASK):
    task = memory.get_or_create_task(run_id)[0]
    task.name, task.state, task.timestamp = name, state, at
    return task


def test_only_what_is_not_known_to_be_over_is_asked_for():
    memory = Memory()
    tasks = [
        task_of(memory, "runs", "STARTED", NOW - 9000),
        task_of(memory, "ended", "SUCCESS"),
        task_of(memory, "confirmed", "SUCCESS"),
        task_of(memory, "told-otherwise", "FAILURE"),
        task_of(memory, "no-run", "STARTED", name="other"),
        task_of(memory, "forgotten", "STARTED", NOW - UNKNOWN_FOR_S - 1),
        task_of(memory, "not-yet-known", "STARTED"),
    ]
    sure = {"confirmed": "SUCCESS", "told-otherwise": "REVOKED", "forgotten": "", "not-yet-known": ""}
    assert set(unsure(tasks, sure, NOW)) == {"runs", "ended", "told-otherwise", "not-yet-known"}


def ended(state, reason=None, **record):
    result = result_of({"id": "r", "node": "n1"}, state, reason, {"duration_s": 2.0, **record})
    return Run(
        "r", {"state": state, "ended_at": str(NOW + 5), "result": json.dumps(result), "cause": "killed by signal 9"}
    )


def test_a_task_says_what_the_ledger_says():
    task = task_of(Memory(), "r", "STARTED")
    put_right(task, ended(State.SUCCESS, exit_code=0))
    assert (task.state, task.succeeded, task.runtime, task.result) == ("SUCCESS", NOW + 5, 2.0, "exit code 0")
    assert task.exception is None

    task = task_of(Memory(), "r", "STARTED")
    put_right(task, ended(State.FAILURE, Reason.SIGNAL, signal=9))
    assert (task.state, task.failed, task.exception) == (
        "FAILURE",
        NOW + 5,
        "run r failed on n1: killed by signal 9",
    )


def test_a_hint_that_failed_is_no_failure_of_its_run():
    task = task_of(Memory(), "r", "FAILURE")
    task.failed, task.exception, task.traceback = NOW, "WorkerLostError", "long"
    put_right(task, Run("r", {"state": "STARTED"}))
    assert (task.state, task.failed, task.exception, task.traceback) == ("STARTED", None, None, None)
    put_right(task, ended(State.REVOKED))
    assert (task.state, task.revoked, task.failed) == ("REVOKED", NOW + 5, None)


def test_a_run_that_waits_is_shown_in_celerys_words():
    task = task_of(Memory(), "r", "STARTED")
    put_right(task, Run("r", {"state": "QUEUED"}))
    assert task.state == "RECEIVED"


def test_what_is_new_is_saved_soon_and_a_big_memory_less_often():
    assert is_due(5, 0.0, is_new=True)
    assert not is_due(4, 0.0, is_new=True)
    assert not is_due(5, 1.0, is_new=True)
    assert not is_due(30, 0.0, is_new=False)
    assert is_due(60, 0.0, is_new=False)


def test_a_foreign_spec_is_shown_without_its_command_and_environment():
    spec = {"command": ["x", "hidden"], "env": {"A": "hidden"}, "name": "n", "project": "p", "node": "n1"}
    assert foreign_shown([spec], {}) == foreign_shown([], {"spec": spec}) == "n project=p node=n1"
    for wrong in ([], ["hidden"], [None], [{"name": ["hidden"], "node": 7}]):
        assert foreign_shown(wrong, None) == "-"


def test_a_browser_is_for_who_has_a_screen():
    assert has_browser({"BROWSER": "x"}, "linux")
    assert has_browser({"DISPLAY": ":0"}, "linux")
    assert not has_browser({}, "linux")
    assert has_browser({}, "darwin")
    assert not has_browser({"SSH_CONNECTION": "x"}, "darwin")


def test_the_window_only_shows_unless_nodes_json_says_otherwise():
    fleet = {"fleet": "f", "nodes": {"n1": {"ssh": "local", "root": "~/.infra"}}}
    assert parse_fleet(json.dumps(fleet)).flower.read_only
    assert not parse_fleet(json.dumps({**fleet, "flower": {"read_only": False, "port": 5555}})).flower.read_only
    with pytest.raises(ValueError, match="read_only") as raised:
        parse_fleet(json.dumps({**fleet, "flower": {"readonly": 1, "port": 80}}))
    assert "flower.port" in str(raised.value)


def test_the_files_of_keys_are_for_nobody_else(tmp_path):
    new_key(Home(tmp_path), NOW)
    folder = tmp_path / "flower" / "keys"
    assert folder.stat().st_mode & 0o077 == 0
    assert all(path.stat().st_mode & 0o077 == 0 for path in folder.iterdir())


def test_the_other_end_of_a_connection_is_known_by_its_user():
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as client:
        address, port = client.getsockname()
        me = os.getuid()
        assert not is_stranger(address, port, me)
        assert not is_stranger(address, 1, me), "who is not in the table may be anybody"
        if sys.platform == "linux":
            assert uid_in(CONNECTIONS.read_text(), address, port) == me


def test_another_user_is_a_stranger_and_root_is_none():
    line = "  1: 0100007F:{port:04X} 0100007F:0050 01 00000000:00000000 00:00000000 00000000  {uid}  0 1 1\n"
    table = "  sl  local_address rem_address st\n" + line.format(port=5000, uid=1001) + line.format(port=5001, uid=0)
    assert uid_in(table, "127.0.0.1", 5000) == 1001
    assert uid_in(table, "127.0.0.1", 5001) == 0
    assert uid_in(table, "127.0.0.1", 80) is None
    assert uid_in("", "127.0.0.1", 80) is None


def test_a_ledger_that_is_away_is_told_as_such():
    def away():
        raise FleetUnreachable("Redis does not answer")

    with pytest.raises(HTTPError) as raised:
        asyncio.run(Runner().run("task.revoke", "id", away))
    assert raised.value.status_code == 503


def test_the_port_that_is_asked_for_is_taken_if_it_is_free(tmp_path):
    home = Home(tmp_path)
    asked = redis_process.free_port()
    with socket.create_server(("127.0.0.1", asked)):
        other = free_port(home, asked)
        assert other != asked
        assert kept_port(home, "flower") == other
    assert free_port(home, asked) == kept_port(home, "flower") == asked
    assert free_port(home, None) == asked
