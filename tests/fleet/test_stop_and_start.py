"""A whole node is stopped and started again, in order; who else wants to be this node is refused."""

from __future__ import annotations

import json
import os

import psutil
import pytest
from attempts import is_alive
from cli_process import Terminal
from waiting import eventually

pytestmark = pytest.mark.fleet


def accept(spec, options=None):
    from infra_tasks import run_spec

    return run_spec.apply_async((spec,), **(options or {})).id


def get(run_id):
    from infra_tasks import run_spec

    return run_spec.AsyncResult(run_id).get(timeout=180)


def state(node, run_id):
    book = node.ledger()
    try:
        return book.runs.peek(run_id)
    finally:
        book.close()


def down(node, *how):
    said = node.python("-m", "workers.watcher", "--down", *how, within_s=240)
    assert said.returncode == 0, said
    eventually(lambda: node.watcher_pid() is None, 10, "the watcher, which let go of its lock, is gone")


def left(node, call):
    """Every process of the node's own; the caller beside it is none of them."""
    return [one for one in node.processes() if one.pid != call.pid]


@pytest.fixture(autouse=True)
def up(own_node):
    """The node is up, also behind a test that failed in between."""
    if own_node.watcher_pid() is None:
        own_node.up()


def starts_at(path):
    return [int(word) for word in path.read_text().split()] if path.exists() else []


@pytest.mark.parametrize("how", [[], ["--detach"]])
def test_a_second_watcher_for_the_same_folder_is_refused(own_node, how):
    first = own_node.watcher_pid()
    said = own_node.python("-m", "workers.watcher", *how)
    assert said.returncode != 0
    assert f"already runs for {own_node.home}" in said.stderr + said.stdout
    assert "Traceback" not in said.stderr
    assert own_node.watcher_pid() == first


def test_a_second_machine_with_the_same_name_is_refused(own_node, own_book, own_call):
    said = own_book.claims.renew(
        patience_s=1, node="n1", uuid="another-machine", boot_id="b", slots=9, labels="[]", version="0", info="{}",
        longest_s=120, live=[],
    )  # fmt: skip
    assert said["said"] == "stranger"
    assert said["uuid"] == json.loads((own_node.home / "node.json").read_text())["uuid"]
    sleepers = [own_call(accept, {"command": ["sleep", "300"], "grace_s": 1}) for _ in range(2)]
    for one in sleepers:
        eventually(lambda one=one: own_book.runs.peek(one)[0] == "STARTED", 30, "both slots are taken")
    run_id = own_call(accept, {"command": ["true"]})
    refused = own_book.claims.claim(
        run_id, 1, "c1", node="n1", uuid="another-machine", slots=9, labels=[], actor="stranger"
    )
    assert (refused["said"], refused["why"]) == ("refused", "stranger")
    for one in sleepers:
        own_book.runs.cancel(one, kill=True)
    assert own_call(get, run_id)["node"] == "n1"


def test_a_command_lives_through_down_and_up_and_its_result_arrives_once(own_node, own_call, tmp_path):
    command = f"echo $$ >> {tmp_path}/pids; while [ ! -e {tmp_path}/go ]; do sleep 0.05; done; echo whole"
    run_id = own_call(accept, {"command": command})
    waiting = [own_call(accept, {"command": f"echo {n} >> {tmp_path}/later"}, {"countdown": 4}) for n in range(3)]
    (pid,) = eventually(lambda: starts_at(tmp_path / "pids"), 30, "the command runs")
    down(own_node)
    assert is_alive(pid)
    eventually(lambda: not left(own_node, own_call), 30, "nothing of ours is left")
    said = own_node.infra("run", "--", "true")
    assert said.returncode == 3
    assert "Traceback" not in said.stderr
    own_node.up()
    eventually(lambda: state(own_node, run_id) == ("STARTED", 1), 30, "it is known as running")
    (tmp_path / "go").touch()
    result = own_call(get, run_id)
    assert (result["attempt"], result["stdout_tail"], result["survivors"]) == (1, "whole\n", 0)
    assert starts_at(tmp_path / "pids") == [pid]
    assert [own_call(get, one)["state"] for one in waiting] == ["SUCCESS"] * 3
    assert sorted(starts_at(tmp_path / "later")) == [0, 1, 2]


def test_a_command_that_ends_while_the_node_is_down_is_reported_at_the_next_up(own_node, own_call, tmp_path):
    run_id = own_call(
        accept, {"command": f"echo $$ >> {tmp_path}/pids; while [ ! -e {tmp_path}/go ]; do sleep 0.05; done; exit 5"}
    )
    (pid,) = eventually(lambda: starts_at(tmp_path / "pids"), 30, "the command runs")
    down(own_node)
    (tmp_path / "go").touch()
    eventually(lambda: not is_alive(pid), 30, "the command ends")
    eventually((own_node.home / "runs" / run_id / "1" / "exit.json").exists, 30, "its end is on disk")
    own_node.up()
    raised = own_call.fails(get, run_id)
    assert (raised.result["exit_code"], raised.result["attempt"]) == (5, 1)
    assert starts_at(tmp_path / "pids") == [pid]


def test_down_kill_ends_commands_and_setups_and_their_runs_go_again_after_the_next_up(own_node, own_call, tmp_path):
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "code.txt").write_text("x\n")
    sleeps = f"351.{os.getpid()}"  # nobody else's on this machine
    setup = f"echo x >> {tmp_path}/setups; test -e {tmp_path}/go || sleep {sleeps}"
    own_node.write_fleet(labels=["gpu"], projects={"slow": {"source": str(tmp_path / "source"), "setup": setup}})
    command = (
        f"echo $$ >> {tmp_path}/pids; test $INFRA_ATTEMPT = 2 && exit 0; trap '' TERM; setsid sleep 341 & sleep 342"
    )
    running = own_call(accept, {"command": command, "grace_s": 1})
    setting_up = own_call(accept, {"command": ["cat", "code.txt"], "project": "slow"})
    eventually(lambda: starts_at(tmp_path / "pids"), 30, "the command runs")
    eventually((tmp_path / "setups").exists, 60, "the setup runs")
    down(own_node, "--kill")
    eventually(lambda: not left(own_node, own_call), 30, "nothing of ours is left")
    assert own_node.run_processes() == []
    assert not [one for one in psutil.process_iter(["cmdline"]) if one.info["cmdline"] == ["sleep", sleeps]]
    assert not (own_node.home / "stopping.json").exists()
    (tmp_path / "go").touch()
    own_node.up()
    result = own_call(get, running)
    assert (result["state"], result["attempt"]) == ("SUCCESS", 2)
    assert len(starts_at(tmp_path / "pids")) == 2
    assert own_call(get, setting_up)["stdout_tail"] == "x\n"


def test_down_without_a_watcher_says_so_and_nothing_is_left(own_node, own_call):
    down(own_node)
    eventually(lambda: not left(own_node, own_call), 30, "nothing of ours is left")
    assert own_node.run_processes() == []
    said = own_node.python("-m", "workers.watcher", "--down")
    assert said.returncode == 3
    assert "no watcher runs" in said.stderr
    assert own_node.infra("status").returncode == 3


def test_who_interrupts_up_and_down_is_told_that_the_node_goes_on_with_it(own_node):
    down(own_node)
    with Terminal(own_node.home, "up", "--detach") as terminal:
        terminal.shows("starting agent")
        terminal.types("\x03")
        terminal.shows("the node goes on starting")
        assert terminal.ends() == 130
    eventually(lambda: all(own_node.role_pid(role) for role in own_node.roles), 60, "every role lives")
    with Terminal(own_node.home, "down") as terminal:
        terminal.shows("stopping")
        terminal.types("\x03")
        terminal.shows("`infra status` tells")
        assert terminal.ends() == 130
