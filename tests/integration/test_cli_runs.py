"""The commands about runs, as processes, against a real Redis; the runs are made and moved through the ledger."""

from __future__ import annotations

import json
import os
import re
import time

import pytest
from cli_process import Terminal, infra
from redis_process import RedisProcess
from run_fleet import TestFleet, started
from waiting import eventually

from infra_tasks.model.run import RESULT_KEYS, Reason, State
from infra_tasks.settings import Home
from infra_tasks.submit import submit


def test_a_detached_run_is_in_the_ledger_as_it_was_said(fleet):
    done = fleet.infra("run", "--detach", "--node", "n1", "--timeout", "1m30s", "--env", "A=b=c", "--retries", "2",
                       "--name", "nightly", "--output", "a/*", "--output", "b",
                       "--", "echo", "--json", "x y")  # fmt: skip
    assert done.code == 0, done.err
    run = fleet.ledger.runs.get(done.out.strip())
    assert run.spec.command == ["echo", "--json", "x y"]
    assert (run.spec.node, run.spec.timeout_s, run.spec.env, run.spec.retries, run.spec.name) == (
        "n1", 90.0, {"A": "b=c"}, 2, "nightly",
    )  # fmt: skip
    assert (run.spec.outputs, run.home_node) == (("a/*", "b"), "n1")
    assert fleet.ledger.runs.events(run.id)[0].actor == "cli"
    assert json.loads(fleet.infra("run", "--detach", "--json", "true").out).keys() == {"id"}


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (["--node", "n11"], "did you mean 'n1'"),
        (["--project", "nope"], "projects"),
        (["--label", "gpu"], "labels"),
        (["--timeout", "3h"], "7200"),
        (["--env", "1A=x"], "1A"),
        (["--env", "INFRA_X=1"], "INFRA_"),
        (["--retries", "1000"], "100"),
        (["--name", ""], "name"),
    ],
)
def test_a_spec_that_cannot_be_run_is_refused_and_nothing_is_submitted(fleet, line, said):
    done = fleet.infra("run", *line, "--", "true")
    assert done.code == 2
    assert said in done.err
    assert fleet.ledger.runs.recent() == []


def test_output_comes_through_byte_for_byte_and_the_exit_code_is_the_commands(fleet):
    with started(fleet, "run", "--", "thing") as process:
        taken = fleet.takes(fleet.waiting_run())
        taken.writes(bytes(range(256)))
        taken.writes(b"\xff\x00 oops", "stderr")
        taken.ends(State.FAILURE, Reason.EXIT_CODE, exit_code=7)
        out, err = process.communicate(timeout=180)
    assert (out, err, process.returncode) == (bytes(range(256)), b"\xff\x00 oops", 7)


@pytest.mark.parametrize(
    ("ending", "code", "said"),
    [
        ((State.SUCCESS, None), 0, ""),
        ((State.FAILURE, Reason.TIMEOUT), 124, "timeout"),
        ((State.FAILURE, Reason.NODE_LOST), 1, "node lost"),
        ((State.FAILURE, Reason.START_FAILED), 1, "no such file"),
    ],
)
def test_how_a_run_ended_is_told_where_the_exit_code_does_not(fleet, ending, code, said):
    with started(fleet, "run", "--", "thing") as process:
        fleet.takes(fleet.waiting_run()).ends(*ending, cause="no such file")
        _, err = process.communicate(timeout=180)
    assert process.returncode == code
    assert said in err.decode()
    assert bool(err) == bool(said)


def test_in_json_the_result_is_all_that_is_printed(fleet):
    with started(fleet, "run", "--json", "--", "thing") as process:
        taken = fleet.takes(fleet.waiting_run())
        taken.writes(b"output")
        taken.ends(exit_code=0)
        out, _ = process.communicate(timeout=180)
    said = json.loads(out)
    assert tuple(said) == RESULT_KEYS
    assert said["state"] == "SUCCESS"


def test_ctrl_c_cancels_a_waiting_run(fleet):
    with Terminal(fleet.home.root, "run", "--", "sleep", "60") as terminal:
        run_id = fleet.waiting_run()
        terminal.shows("waits for a free slot")
        terminal.types("\x03")
        assert terminal.ends() == 130
        assert "is asked to stop" in terminal.seen
    assert fleet.ledger.runs.peek(run_id)[0] == "REVOKED"


def test_ctrl_c_asks_then_kills_then_leaves_alone(fleet):
    with Terminal(fleet.home.root, "run", "--", "sleep", "60") as terminal:
        taken = fleet.takes(fleet.waiting_run())
        taken.writes(b"it runs\n")
        terminal.shows("it runs")
        terminal.types("\x03")
        terminal.shows("Ctrl-C again kills it")
        eventually(lambda: fleet.ledger.runs.get(taken.id).cancel == "asked", said="the wish is in the ledger")
        terminal.types("\x03")
        terminal.shows("Ctrl-C again leaves it alone")
        eventually(lambda: fleet.ledger.runs.get(taken.id).cancel == "kill", said="the harder wish is in the ledger")
        terminal.types("\x03")
        assert terminal.ends() == 130
    assert fleet.ledger.runs.peek(taken.id)[0] == "STARTED"


def test_a_cancelled_run_ends_with_130(fleet):
    with started(fleet, "run", "--", "sleep", "60") as process:
        taken = fleet.takes(fleet.waiting_run())
        assert fleet.infra("cancel", taken.id).code == 0
        taken.ends(State.REVOKED, None, signal=15)
        _, err = process.communicate(timeout=180)
    assert process.returncode == 130
    assert b"cancelled" in err


def test_a_closed_terminal_does_not_end_the_wait(fleet):
    with Terminal(fleet.home.root, "run", "--", "sleep", "60") as terminal:
        taken = fleet.takes(fleet.waiting_run())
        taken.writes(b"it runs\n")
        terminal.shows("it runs")
        os.close(terminal._fd)
        terminal._fd = os.open(os.devnull, os.O_RDONLY)
        taken.writes(b"nobody sees this\n")
        assert taken.folder.is_locked()
        assert terminal.process.poll() is None
        taken.ends(State.FAILURE, Reason.EXIT_CODE, exit_code=5)
        eventually(lambda: terminal.process.poll() is not None, 30, "it ends with the run")
        assert terminal.process.returncode == 5


def test_a_redis_that_goes_away_is_waited_for_and_said_once(tmp_path):
    own = RedisProcess(tmp_path / "redis").start()
    try:
        home = Home(tmp_path / "home")
        infra(home.root, "init", "--name", "n1")
        raw = json.loads(home.nodes_json.read_text())
        home.nodes_json.write_text(json.dumps({**raw, "broker": own.url}))
        fleet = TestFleet(home)
        with Terminal(home.root, "run", "--", "thing") as terminal:
            taken = fleet.takes(fleet.waiting_run())
            taken.writes(b"before\n")
            terminal.shows("before")
            own.kill()
            terminal.shows("does not answer")
            taken.writes(b"meanwhile\n")
            terminal.shows("meanwhile")
            own.start()
            terminal.shows("answers again")
            taken.writes(b"after\n")
            taken.ends(exit_code=0)
            assert terminal.ends() == 0
            assert terminal.seen.count("does not answer") == 1
            assert terminal.seen.index("before") < terminal.seen.index("meanwhile") < terminal.seen.index("after")
        fleet.ledger.close()
    finally:
        own.kill()


def test_who_stops_reading_leaves_the_run_alone(fleet):
    with started(fleet, "run", "--", "yes") as process:
        taken = fleet.takes(fleet.waiting_run())
        taken.writes(b"y\n")
        assert process.stdout.read(2) == b"y\n"
        process.stdout.close()
        taken.writes(b"y\n" * 1000)
        assert process.wait(180) == 141
        assert b"goes on" in process.stderr.read()
    assert fleet.ledger.runs.peek(taken.id)[0] == "STARTED"


def test_runs_are_listed_newest_first_and_by_state(fleet):
    first = fleet.takes(fleet.accepts("echo", "one"))
    first.ends(exit_code=0)
    second = fleet.accepts("echo", "two", name="deux")
    assert [run["id"] for run in fleet.json("runs")] == [second, first.id]
    assert [run["id"] for run in fleet.json("runs", "--limit", "1")] == [second]
    assert [run["id"] for run in fleet.json("runs", "--state", "success")] == [first.id]
    assert [run["id"] for run in fleet.json("runs", "--state", "QUEUED", "--state", "SUCCESS")] == [second, first.id]
    text = fleet.infra("runs").out.splitlines()
    assert text[0].split() == ["RUN", "STATE", "NODE", "SUBMITTED", "TOOK", "WHAT"]
    assert second[:8] in text[1]
    assert "deux: echo two" in text[1]
    assert "no run" in fleet.infra("runs", "--state", "failure").out


def test_a_run_is_shown_with_all_keys_of_a_result_and_its_story(fleet):
    taken = fleet.takes(fleet.accepts("echo", "one", name="uno"))
    going_on = fleet.json("show", taken.id)
    assert set(RESULT_KEYS) <= set(going_on)
    assert (going_on["state"], going_on["node"], going_on["attempt"], going_on["ended_at"]) == (
        "STARTED",
        "n1",
        1,
        None,
    )
    assert going_on["started_at"] > 0
    taken.ends(State.FAILURE, Reason.EXIT_CODE, exit_code=3, cause="exit code 3")
    final = fleet.json("show", taken.id[:8])
    assert (final["state"], final["exit_code"], final["name"], final["command"]) == (
        "FAILURE",
        3,
        "uno",
        ["echo", "one"],
    )
    assert [(each["from"], each["to"]) for each in final["events"]][1:] == [
        ("QUEUED", "STARTED"),
        ("STARTED", "FAILURE"),
    ]
    assert set(final["events"][0]) == {"moment", "from", "to", "actor", "cause", "token"}
    text = fleet.infra("show", taken.id[:8]).out
    assert [(each["kind"], each["attempt"]) for each in final["phases"]] == [("queue", 1), ("run", 1)]
    for words in (taken.id, "FAILURE", "exit code 3", "Time line", "Story", "Last lines of stdout", "tail"):
        assert words in text


def test_the_last_lines_hold_nothing_that_a_terminal_would_obey_and_a_progress_bar_as_it_stood_last(fleet):
    taken = fleet.takes(fleet.accepts())
    taken.ends(tails=("\x1b]0;other title\x07\x1b[2Jred\n10%\r50%\rdone\n", "\n"))
    shown = fleet.infra("show", taken.id).out
    assert shown.endswith("\nLast lines of stdout\nred\ndone\n")
    assert "\x1b" not in shown


def test_a_narrow_terminal_shows_the_whole_story(fleet):
    words = "code ready: 3fa2c1d0abcd: 12 files, 1.2 MiB brought to mac-2 in 0.40 s, 9,988 shared"
    taken = fleet.takes(fleet.accepts())
    taken.ends(State.FAILURE, Reason.SYNC_FAILED, cause=words)
    assert fleet.json("show", taken.id)["events"][-1]["cause"] == words
    assert words in fleet.infra("show", taken.id).out, "a pipe gets it on one line"
    for columns in (100, 60, 40):
        with Terminal(fleet.home.root, "show", taken.id, columns=columns) as terminal:
            assert terminal.ends() == 0
        seen = re.sub(r"\x1b\[[0-9;]*m", "", terminal.seen)
        line, story = seen.split("Time line")[1].split("Last lines")[0].split("Story")
        assert words in " ".join(story.split())
        assert max(map(len, (line + story).splitlines())) <= columns


def test_the_picture_of_a_run_keeps_to_80_columns_and_to_ascii_where_it_must(fleet):
    taken = fleet.takes(fleet.accepts(timeout_s=60))
    fleet.ledger.runs.extend(taken.id, 30, ceiling_s=7200)
    shown = fleet.infra("show", taken.id).out
    line = shown.split("Time line")[1].split("Story")[0]
    assert "█" in line
    assert "of 1m30s so far" in line
    assert "now" in line
    assert max(map(len, line.splitlines())) <= 80
    assert "\x1b" not in shown
    shown = fleet.infra("show", taken.id, PYTHONIOENCODING="ascii:replace").out
    assert "###" in shown
    assert "█" not in shown
    taken.ends()
    phases = fleet.json("show", taken.id)["phases"]
    assert phases[-1]["limit_s"] == 90
    assert phases[-1]["ended_at"] >= phases[-1]["began_at"]


def test_a_pinned_run_on_a_silent_node_is_shown_unreachable(fleet):
    taken = fleet.takes(fleet.accepts("true", node="n1"))
    fleet.ledger.claims.renew(patience_s=1, node="n1", uuid="u1", boot_id="b", slots=2, labels="[]", version="0",
                              info="{}", longest_s=120, live=[])  # fmt: skip
    fleet.was_heard("n1", time.time() + 3600)
    assert fleet.json("show", taken.id)["state"] == "STARTED"
    fleet.was_heard("n1", time.time() - 3600)
    assert fleet.json("show", taken.id)["state"] == "UNREACHABLE"
    assert [run["id"] for run in fleet.json("runs", "--state", "unreachable")] == [taken.id]
    assert "UNREACHABLE" in fleet.infra("runs").out
    assert fleet.json("status")["nodes"][0]["reachable"] is False


def test_an_id_may_be_shortened_as_long_as_it_is_clear(fleet):
    from infra_tasks.cli.door import open_fleet

    for run_id in ("nightly-1", "nightly-2"):
        submit(fleet.ledger, open_fleet(fleet.home), {"command": ["true"]}, run_id=run_id)
    assert fleet.json("show", "nightly-1")["id"] == "nightly-1"
    for line in (["show", "nightly"], ["logs", "nightly"], ["cancel", "nightly"], ["extend", "nightly", "--by", "5"]):
        done = fleet.infra(*line)
        assert done.code == 2
        assert "nightly-1, nightly-2" in done.err
    done = fleet.infra("show", "never")
    assert done.code == 2
    assert "infra runs" in done.err


def test_logs_keep_the_two_streams_apart(fleet):
    taken = fleet.takes(fleet.accepts())
    taken.writes(b"out\n")
    taken.writes(b"err\n", "stderr")
    done = fleet.infra("logs", taken.id)
    assert (done.code, done.out, done.err) == (0, "out\n", "err\n")
    done = fleet.infra("logs", taken.id, "--stderr")
    assert (done.code, done.out, done.err) == (0, "err\n", "")
    pieces = [json.loads(line) for line in fleet.infra("logs", taken.id, "--json").out.splitlines()]
    assert pieces == [
        {"run": taken.id, "stream": "stdout", "attempt": 1, "offset": 0, "text": "out\n"},
        {"run": taken.id, "stream": "stderr", "attempt": 1, "offset": 0, "text": "err\n"},
    ]
    assert "no attempt 2" in fleet.infra("logs", taken.id, "--attempt", "2").err


def test_logs_follow_a_run_to_its_end(fleet):
    taken = fleet.takes(fleet.accepts())
    taken.writes(b"one\n")
    with started(fleet, "logs", "-f", taken.id) as process:
        assert process.stdout.readline() == b"one\n"
        taken.writes(b"two\n")
        assert process.stdout.readline() == b"two\n"
        taken.ends(exit_code=0)
        assert process.wait(180) == 0


def test_ctrl_c_ends_logs_and_not_the_run(fleet):
    taken = fleet.takes(fleet.accepts())
    taken.writes(b"one\n")
    with Terminal(fleet.home.root, "logs", "-f", taken.id) as terminal:
        terminal.shows("one")
        terminal.types("\x03")
        assert terminal.ends() == 130
        assert "Traceback" not in terminal.seen
    assert fleet.ledger.runs.get(taken.id).cancel == ""


def test_cancel_says_what_became_of_the_run(fleet):
    waiting = fleet.accepts()
    assert "REVOKED" in fleet.infra("cancel", waiting).out
    assert "already" in fleet.infra("cancel", waiting).out
    taken = fleet.takes(fleet.accepts())
    assert "asked to stop" in fleet.infra("cancel", taken.id).out
    assert fleet.json("show", taken.id)["cancel_asked"] is True
    said = fleet.json("cancel", taken.id, "--kill")
    assert said == {"id": taken.id, "state": "STARTED", "cancel_asked": True}
    assert fleet.ledger.runs.get(taken.id).cancel == "kill"


def test_extend_gives_time_up_to_the_ceiling(fleet):
    run_id = fleet.accepts(timeout_s=60.0)
    assert fleet.json("extend", run_id, "--by", "1m30s") == {"id": run_id, "timeout_s": 150.0}
    assert "2m30s" not in fleet.infra("extend", run_id, "--by", "10").err
    assert fleet.ledger.runs.get(run_id).timeout_s == 160
    done = fleet.infra("extend", run_id, "--by", "5h")
    assert done.code == 2
    assert "7200" in done.err
    fleet.infra("cancel", run_id)
    assert "nothing is left to extend" in fleet.infra("extend", run_id, "--by", "5").err


def test_retry_makes_a_new_run_that_remembers_the_old_one(fleet):
    old = fleet.takes(fleet.accepts("echo", "again", name="n"))
    done = fleet.infra("retry", old.id)
    assert done.code == 2
    assert "STARTED" in done.err
    old.ends(State.FAILURE, Reason.EXIT_CODE, exit_code=1)
    said = fleet.json("retry", old.id)
    assert said["retry_of"] == old.id
    new = fleet.json("show", said["id"])
    assert (new["retry_of"], new["command"], new["name"], new["state"]) == (old.id, ["echo", "again"], "n", "QUEUED")


def test_status_has_all_its_keys_and_no_password(fleet):
    fleet.accepts()
    status = fleet.json("status")
    assert {"node", "version", "roles", "runs", "broker", "flower_url", "nodes", "safe_mode"} <= set(status)
    assert (status["node"], status["runs"]["QUEUED"], status["broker"]["reachable"]) == ("n1", 1, True)
    text = fleet.infra("status").out
    assert "1 QUEUED" in text


def test_a_password_in_the_broker_url_is_shown_nowhere(fleet):
    raw = json.loads(fleet.home.nodes_json.read_text())
    secret = raw["broker"].replace("redis://", "redis://user:se-cret@")
    fleet.home.nodes_json.write_text(json.dumps({**raw, "broker": secret}))
    for line in (["status"], ["status", "--json"], ["runs"], ["run", "--debug", "--", "true"]):
        done = fleet.infra(*line)
        assert done.code == 3, done
        assert "se-cret" not in done.out + done.err


def test_an_unreachable_redis_is_exit_code_3_everywhere(fleet):
    raw = json.loads(fleet.home.nodes_json.read_text())
    fleet.home.nodes_json.write_text(json.dumps({**raw, "broker": "redis://127.0.0.1:1/0"}))
    for line in (["status"], ["runs"], ["show", "x"], ["logs", "x"], ["cancel", "x"], ["retry", "x"],
                 ["extend", "x", "--by", "5"], ["run", "--", "true"]):  # fmt: skip
        done = fleet.infra(*line)
        assert done.code == 3, line
        assert "Traceback" not in done.err
    assert json.loads(fleet.infra("status", "--json").out)["broker"]["reachable"] is False
    assert json.loads(fleet.infra("runs", "--json").err)["error"]["kind"] == "FleetUnreachable"


def test_why_says_in_a_sentence_what_a_run_waits_for_and_where_it_went(fleet):
    raw = json.loads(fleet.home.nodes_json.read_text())
    raw["nodes"]["n2"] = {"ssh": "me@n2.example.net", "root": "/srv/infra"}
    fleet.home.nodes_json.write_text(json.dumps(raw))
    roles = json.dumps({"roles": [{"name": "worker", "state": "running"}]})
    fleet.ledger.claims.renew(patience_s=1, node="n2", uuid="u2", boot_id="b", slots=1, labels="[]", version="0",
                              info=roles, longest_s=120, live=[])  # fmt: skip
    fleet.was_heard("n2", time.time() + 3600)
    first, second = fleet.accepts(name="first"), fleet.accepts(name="second")
    fleet.ledger.claims.claim(first, 1, "c1", node="n2", uuid="u2", slots=1, labels=[], actor="n2")
    said = fleet.json("why", second[:13])
    assert (said["run"], said["state"]) == (second, "QUEUED")
    assert [(one["kind"], one["node"]) for one in said["reasons"]] == [("never_seen", "n1"), ("slots_full", "n2")]
    assert said["said"].endswith("n1 has never spoken (`infra up` there starts it); the slot of n2 is taken, by first")
    assert fleet.infra("why", first).out.startswith(f"run {first[:8]} (first) runs on n2, for ")
    fleet.ledger.runs.cancel(second, actor="ann")
    assert "was cancelled by ann before it started" in fleet.infra("why", second).out
    assert fleet.infra("why", "never").code == 2
