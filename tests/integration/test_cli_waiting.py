"""`infra wait` and `infra watch-run`: until runs have ended, through outages, with exit codes, bells and notices."""

from __future__ import annotations

import json
import os
import signal

import pytest
from cli_process import Terminal
from redis_process import RedisProcess
from run_fleet import fleet_at, started
from waiting import eventually

from infra_tasks.cli import notice
from infra_tasks.cli.exit_codes import of_states
from infra_tasks.ledger.runs import Submission
from infra_tasks.model.run import RESULT_KEYS, Reason, State
from infra_tasks.model.spec import RunSpec


@pytest.mark.parametrize(
    ("states", "code"),
    [
        (["SUCCESS", "SUCCESS"], 0),
        (["SUCCESS", "FAILURE"], 1),
        (["REVOKED", "FAILURE"], 1),
        (["SUCCESS", "REVOKED"], 130),
        (["SUCCESS", "GONE"], 1),
    ],
)
def test_the_exit_code_tells_how_the_worst_one_ended(states, code):
    assert of_states(states) == code


def test_each_end_is_told_as_it_comes(fleet):
    first, second = fleet.takes(fleet.accepts(name="one")), fleet.takes(fleet.accepts(name="two"))
    with started(fleet, "wait", first.id, second.id[:13], first.id) as process:
        second.ends(exit_code=0)
        line = process.stdout.readline().decode()
        assert [word in line for word in (second.id[:8], "SUCCESS", "done on n1 after 1.5s", "two: true")] == [True] * 4
        assert process.poll() is None
        first.ends(State.FAILURE, Reason.EXIT_CODE, exit_code=3)
        out, err = process.communicate(timeout=180)
    assert b"exit code 3" in out
    assert (process.returncode, err) == (1, b"")


def test_what_has_ended_is_told_at_once_and_unknown_names_all_together(fleet):
    waiting, taken = fleet.accepts(), fleet.takes(fleet.accepts())
    fleet.ledger.runs.cancel(waiting)
    assert fleet.infra("wait", waiting).code == 130
    taken.ends(exit_code=0)
    said = [json.loads(line) for line in fleet.infra("wait", taken.id, waiting, "--json").out.splitlines()]
    assert [run["state"] for run in said] == ["SUCCESS", "REVOKED"]
    assert set(RESULT_KEYS) <= set(said[0])
    done = fleet.infra("wait", "nobody", waiting, "never")
    assert done.code == 2
    assert "nobody" in done.err
    assert "never" in done.err


def test_any_ends_with_the_first_and_a_timeout_with_124(fleet):
    taken, going_on = fleet.takes(fleet.accepts()), fleet.accepts()
    taken.ends(exit_code=0)
    assert fleet.infra("wait", going_on, taken.id, "--any").code == 0
    done = fleet.infra("wait", going_on, taken.id, "--timeout", "0.5")
    assert done.code == 124
    assert f"not ended within 0.5s: {going_on[:8]}" in done.err
    assert done.out.count("\n") == 1


def test_a_thousand_are_waited_for_and_only_those_that_have_not_ended_are_asked_for(fleet):
    spec = RunSpec.of({"command": ["true"], "node": "n1"})
    ids = fleet.ledger.runs.submit_many([Submission(f"many-{at}", spec) for at in range(1000)])
    for piece in fleet.ledger.cancelling.cancel(fleet.ledger.runs.some(ids[1:], ("state", "attempt")), actor="test"):
        assert all(one.state == "REVOKED" for one in piece)
    with started(fleet, "wait", *ids) as process:
        lines = [process.stdout.readline() for _ in ids[1:]]
        assert len(set(lines)) == 999
        before = asked(fleet)
        eventually(lambda: asked(fleet) >= before + 4, said="it goes on looking")
        assert asked(fleet) - before < len(ids) - 1, "what has ended is not read again"
        fleet.ledger.runs.cancel(ids[0])
        assert process.wait(180) == 130


def asked(fleet):
    """How many records were read so far."""
    return fleet.ledger.scripts.client.info("commandstats")["cmdstat_hmget"]["calls"]


def test_a_timeout_is_kept_and_ctrl_c_heard_while_redis_is_frozen(fleet, own_redis):
    run_id = fleet.accepts()
    with (
        Terminal(fleet.home.root, "wait", run_id) as terminal,
        Terminal(fleet.home.root, "wait", run_id, "--timeout", "5") as timed,
    ):
        terminal.shows("1 run to come: 1 QUEUED")
        timed.shows("1 run to come: 1 QUEUED")
        os.kill(own_redis.process.pid, signal.SIGSTOP)
        try:
            terminal.shows("does not answer")
            terminal.types("\x03")
            assert terminal.ends() == 130
            assert "which ends by itself" in terminal.seen
            assert timed.ends() == 124
        finally:
            os.kill(own_redis.process.pid, signal.SIGCONT)
    assert fleet.ledger.runs.peek(run_id)[0] == "QUEUED"


def test_an_outage_is_waited_out(tmp_path):
    own = RedisProcess(tmp_path / "redis").start()
    try:
        for fleet in fleet_at(tmp_path / "home", own.url):
            taken = fleet.takes(fleet.accepts())
            with (
                Terminal(fleet.home.root, "wait", taken.id) as waiting,
                started(fleet, "watch-run", taken.id) as watching,
            ):
                waiting.shows("1 run to come: 1 STARTED")
                assert b"is STARTED" in watching.stdout.readline()
                own.kill()
                waiting.shows("does not answer")
                assert b"does not answer" in watching.stderr.readline()
                own.start()
                waiting.shows("answers again")
                assert b"answers again" in watching.stderr.readline()
                taken.ends(exit_code=0)
                waiting.shows("done on n1")
                assert (waiting.ends(), watching.wait(180)) == (0, 0)
                assert b"STARTED -> SUCCESS" in watching.stdout.read()
    finally:
        own.kill()


def test_one_line_shows_how_a_run_is_and_its_moves_are_told(fleet):
    run_id = fleet.accepts("thing", name="n")
    with Terminal(fleet.home.root, "watch-run", run_id, "--bell") as terminal:
        terminal.shows(f"{run_id[:8]} is QUEUED")
        taken = fleet.takes(run_id)
        terminal.shows("QUEUED -> STARTED")
        taken.writes(b"step 1 of 3\nstep 2 ")
        terminal.shows("STARTED")
        terminal.shows("n1 · step 2")
        taken.writes(b"of 3\n\x1b]0;mine\x07")
        terminal.shows("n1 · step 2 of 3")
        taken.ends(State.FAILURE, Reason.EXIT_CODE, exit_code=7)
        terminal.shows("exit code 7 on n1")
        assert terminal.ends() == 1
        assert terminal.seen.endswith("\a")
        assert "\x1b]0;" not in terminal.seen


def test_in_a_pipe_moves_are_lines_and_in_json_objects(fleet):
    taken = fleet.takes(fleet.accepts())
    with started(fleet, "watch-run", taken.id, "--json") as process:
        fleet.ledger.runs.cancel(taken.id)
        taken.ends(State.REVOKED, signal=15)
        out, err = process.communicate(timeout=180)
    assert (process.returncode, err) == (130, b"")
    *moves, last = [json.loads(line) for line in out.splitlines()]
    assert (last["state"], last["id"]) == ("REVOKED", taken.id)
    assert all({"from", "to", "cause"} <= set(move) for move in moves)


def notices(folder):
    """A notify-send that notes how it was called; returns the PATH that has it."""
    tool = folder / "notify-send"
    folder.mkdir()
    tool.write_text(f'#!/bin/sh\nfor each; do printf "%s\\n" "$each"; done > "{folder}/said"\n')
    tool.chmod(0o755)
    return f"{folder}:{os.environ['PATH']}"


def test_a_notice_is_shown_at_the_end_and_its_text_is_never_read_by_a_shell(fleet, tmp_path):
    run_id = fleet.accepts("echo", "$(touch x); <b>`id`</b>", name="n; rm -rf & '\"")
    fleet.ledger.runs.cancel(run_id)
    done = fleet.infra("watch-run", run_id, "--notify", PATH=notices(tmp_path / "bin"))
    assert (done.code, done.err) == (130, "")
    said = (tmp_path / "bin" / "said").read_text().splitlines()
    assert said[:3] == ["--app-name=infra", "--", "infra: REVOKED"]
    assert said[3].startswith(f"run {run_id[:8]}: cancelled")
    assert "$(touch x); &lt;b&gt;`id`&lt;/b&gt;" in said[3]


def test_where_no_notice_or_bell_can_be_it_is_said(fleet, tmp_path):
    run_id = fleet.accepts()
    fleet.ledger.runs.cancel(run_id)
    done = fleet.infra("watch-run", run_id, "--notify", "--bell", PATH=str(tmp_path))
    assert done.code == 130
    assert "notify-send is not there" in done.err
    assert "no bell" in done.err
    assert "\a" not in done.err


def test_on_macos_the_text_is_an_argument_of_a_fixed_script():
    line = notice.command("title", 'run 1: "; do shell script "id', platform="darwin")
    assert line[-2:] == ['run 1: "; do shell script "id', "title"]
    assert line[:-2] == notice.command("", "", platform="darwin")[:-2]
    assert notice.missing("darwin", lambda _: None) == "osascript is not there"
    assert notice.missing("darwin", lambda name: f"/usr/bin/{name}") == ""
    assert "aix" in notice.missing("aix")
