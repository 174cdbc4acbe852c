"""Commands that look at many runs, or stop many: `runs` with filters and `--watch`, `cancel --all`."""

from __future__ import annotations

import json
import re
import signal
import time

from cli_process import Terminal
from redis_process import RedisProcess
from run_fleet import fleet_at, started
from waiting import eventually
from window import Window

from infra_tasks.cli import nodes_file
from infra_tasks.ledger import search
from infra_tasks.ledger.runs import Submission
from infra_tasks.model.run import Reason, State
from infra_tasks.model.spec import RunSpec


def many(fleet, count, beginning="many", **spec):
    """Accept many runs at once; return their ids, oldest first."""
    made = RunSpec.of({"command": ["true"], "node": "n1", **spec})
    source = "n1" if made.project else None
    runs = [Submission(f"{beginning}-{at}", made, source_node=source) for at in range(count)]
    return fleet.ledger.runs.submit_many(runs)


def has_project(fleet, tmp_path, name="p"):
    (tmp_path / name).mkdir(exist_ok=True)
    nodes_file.add_projects(fleet.home, {name: tmp_path / name})


def ids(fleet, *line):
    return [run["id"] for run in fleet.json("runs", *line)]


def test_filters_of_runs_combine(fleet, tmp_path):
    has_project(fleet, tmp_path)
    first, second = fleet.accepts(name="Nightly-1"), fleet.accepts(name="nightly-2", node="n1")
    (of_project,) = many(fleet, 1, project="p", name="nightly-3")
    ended = fleet.takes(fleet.accepts(name="weekly", node="n1"))
    ended.ends(State.FAILURE, Reason.EXIT_CODE, exit_code=3)
    assert ids(fleet, "--name", "night*") == [of_project, second, first]
    assert ids(fleet, "--node", "n1", "--state", "failure", "--state", "pending") == [ended.id, of_project]
    assert ids(fleet, "--project", "p") == [of_project]
    assert ids(fleet, "--project", "p", "--state", "queued") == []
    assert ids(fleet, "--since", "1h", "--limit", "1") == [ended.id]


def test_runs_that_were_handed_in_together_are_listed_in_that_order(fleet):
    handed_in = many(fleet, 40)
    assert ids(fleet, "--limit", "30") == list(reversed(handed_in))[:30]


def test_since_looks_at_when_a_run_was_submitted(fleet):
    old, new = fleet.accepts(), fleet.accepts()
    redis, key = fleet.ledger.scripts.client, fleet.ledger.scripts.key
    long_ago = time.time() - 7200
    redis.zadd(key("recent"), {old: long_ago})
    redis.hset(key("run", old), "submitted_at", long_ago)
    assert ids(fleet, "--since", "1h") == [new]
    assert ids(fleet, "--since", "3h") == [new, old]


def test_a_word_nobody_knows_is_told_with_the_nearest(fleet, tmp_path):
    has_project(fleet, tmp_path, "trainer")
    for line, said in (
        (["--state", "sucess"], "did you mean 'SUCCESS'"),
        (["--node", "n11"], "did you mean 'n1'"),
        (["--project", "trainr"], "did you mean 'trainer'"),
        (["--since", "yesterday"], "1h30m"),
        (["--watch", "--node", "n11"], "did you mean 'n1'"),
    ):
        done = fleet.infra("runs", *line)
        assert (done.code, done.out) == (2, "")
        assert said in done.err


def test_a_filter_looks_through_a_bounded_number_of_runs_and_says_so(fleet):
    many(fleet, 1, "wanted")
    many(fleet, 1200)
    found = search.Search(fleet.ledger.scripts, fleet.ledger.runs).newest(is_wanted, 5, most=1100)
    assert (found.runs, found.looked, found.complete) == ([], 1100, False)
    whole = search.Search(fleet.ledger.scripts, fleet.ledger.runs).newest(is_wanted, 5)
    assert ([run.id for run in whole.runs], whole.looked, whole.complete) == (["wanted-0"], 1201, True)
    assert "spec" not in whole.runs[0].fields
    enough = search.Search(fleet.ledger.scripts, fleet.ledger.runs).newest(lambda run: True, 5)
    assert (enough.looked, enough.complete) == (search.PIECE, True)


def is_wanted(run):
    return run.id.startswith("wanted")


def test_runs_that_have_ended_are_read_once(fleet):
    taken, waiting = fleet.takes(fleet.accepts()), fleet.accepts()
    looking, details = fleet.ledger.search(), fleet.ledger.details()
    assert [run.state for run in details.of(looking.newest(lambda run: True, 5).runs)] == ["QUEUED", "STARTED"]
    taken.ends(exit_code=0)
    assert [run.state for run in details.of(looking.newest(lambda run: True, 5).runs)] == ["QUEUED", "SUCCESS"]
    fleet.ledger.runs.cancel(waiting)
    ended = details.of(looking.newest(lambda run: True, 5).runs)
    assert [(run.state, run.result["state"]) for run in ended] == [("REVOKED", "REVOKED"), ("SUCCESS", "SUCCESS")]
    for name in ("name", "queue"):
        fleet.ledger.scripts.client.hset(fleet.ledger.scripts.key("run", taken.id), name, "read again")
    again = details.of(looking.newest(lambda run: True, 5).runs)
    assert [(run.state, run.name) for run in again] == [("REVOKED", ""), ("SUCCESS", "")]
    assert again[1].queue != "read again"


def test_a_watched_list_is_drawn_anew_and_the_terminal_is_given_back(fleet):
    waiting = fleet.accepts("echo", "first")
    with Window(fleet.home.root, "runs", "--watch") as window:
        window.comes_to("echo first")
        assert "QUEUED" in window.shown[2]
        taken = fleet.takes(waiting)
        window.comes_to(lambda text: "STARTED" in text and "QUEUED" not in text)
        window.resize(60, 10)
        fleet.accepts("echo", "x" * 200)
        window.comes_to(lambda text: "echo xxx" in text and "…" in text)
        assert all(len(line) <= 60 for line in window.shown)
        taken.ends(exit_code=0)
        window.comes_to("SUCCESS")
        window.types("\x03")
        assert window.ends() == 130
        assert "Traceback" not in window.seen
        assert "SUCCESS" in window.seen.split("\x1b[?1049l")[1], "what was seen last stays on the terminal"


def test_a_pipe_gets_a_line_for_every_change_through_an_outage(tmp_path):
    own = RedisProcess(tmp_path / "redis").start()
    try:
        (fleet,) = [made for made, _ in zip(fleet_at(tmp_path / "home", own.url), range(1), strict=False)]
        before = fleet.accepts("echo", "one")
        with started(fleet, "runs", "--watch") as process:
            assert before[:8].encode() in process.stdout.readline()
            own.kill()
            assert b"does not answer" in process.stderr.readline()
            own.start()
            assert b"answers again" in process.stderr.readline()
            taken = fleet.takes(eventually(lambda: fleet.ledger.runs.recent(1))[0].id)
            line = process.stdout.readline().decode()
            assert "QUEUED -> STARTED" in line
            assert "\x1b" not in line
            assert taken.id[:8] in line
            process.send_signal(signal.SIGINT)
            assert process.wait(180) == 130
            assert b"Traceback" not in process.stderr.read()
    finally:
        own.kill()


def test_changes_in_json_are_a_line_each(fleet):
    run_id = fleet.accepts()
    with started(fleet, "runs", "--watch", "--json", "--state", "revoked") as process:
        fleet.ledger.runs.cancel(run_id)
        said = json.loads(process.stdout.readline())
        assert (said["id"], said["state"]) == (run_id, "REVOKED")


def test_several_runs_are_cancelled_at_once(fleet):
    one, two = fleet.accepts(), fleet.accepts()
    done = fleet.infra("cancel", one, "nobody", "never")
    assert done.code == 2
    assert "nobody" in done.err
    assert "never" in done.err
    assert fleet.ledger.runs.peek(one)[0] == "QUEUED", "nothing was done before all was right"
    said = fleet.json("cancel", one[:13], two, one)
    assert [(each["id"], each["state"]) for each in said] == [(one, "REVOKED"), (two, "REVOKED")]


def test_wrong_use_of_cancel_stops_nothing(fleet, tmp_path):
    has_project(fleet, tmp_path, "trainer")
    run_id = fleet.accepts()
    for line, said in (
        ([], "RUN"),
        (["x", "--all"], "not both"),
        (["x", "--state", "waiting"], "--all or --project"),
        (["--all"], "--yes"),
        (["--all", "--json"], "--yes"),
        (["--project", "trainr", "--yes"], "did you mean 'trainer'"),
    ):
        done = fleet.infra("cancel", *line)
        assert done.code == 2, done
        assert said in done.err
    assert fleet.ledger.runs.peek(run_id)[0] == "QUEUED"


def test_all_live_runs_are_cancelled_and_it_is_said_how_many(fleet):
    taken, ended = fleet.takes(fleet.accepts()), fleet.takes(fleet.accepts())
    ended.ends(exit_code=0)
    many(fleet, 600)
    said = fleet.json("cancel", "--all", "--yes")
    assert said == {"found": 601, "revoked": 600, "asked_to_stop": 1}
    assert fleet.ledger.runs.get(taken.id).cancel == "asked"
    assert fleet.ledger.runs.counts()["REVOKED"] == 600
    again = fleet.infra("cancel", "--all", "--yes")
    assert "1 ended, started or asked before" in again.out
    assert "1 run will be killed" in fleet.infra("cancel", "--all", "--yes", "--kill").out
    taken.ends(State.REVOKED)
    assert "no run is live" in fleet.infra("cancel", "--all", "--yes").out


def test_only_waiting_runs_of_one_project_are_cancelled_when_so_asked(fleet, tmp_path):
    has_project(fleet, tmp_path)
    of_project = many(fleet, 3, project="p")
    taken, other = fleet.takes(fleet.accepts()), fleet.accepts()
    assert fleet.json("cancel", "--project", "p", "--yes")["revoked"] == 3
    assert {fleet.ledger.runs.peek(run)[0] for run in of_project} == {"REVOKED"}
    assert fleet.json("cancel", "--all", "--state", "waiting", "--yes") == {
        "found": 1,
        "revoked": 1,
        "asked_to_stop": 0,
    }
    assert fleet.ledger.runs.peek(other)[0] == "REVOKED"
    assert fleet.ledger.runs.get(taken.id).cancel == ""


def test_a_person_is_asked_before_many_are_cancelled(fleet):
    many(fleet, 3)
    with Terminal(fleet.home.root, "cancel", "--all") as terminal:
        terminal.shows("Cancel 3 runs? [y/N]")
        terminal.types("n\n")
        assert terminal.ends() == 1
    with Terminal(fleet.home.root, "cancel", "--all") as terminal:
        terminal.shows("[y/N]: ")
        terminal.types("\x04")
        assert terminal.ends() == 130
        assert re.search(r"\[y/N\]: [^a-z]*\r\n(\x1b\[[0-9;]*m)*error:", terminal.seen), "the error has its own line"
    assert fleet.ledger.runs.counts()["QUEUED"] == 3
    with Terminal(fleet.home.root, "cancel", "--all") as terminal:
        terminal.shows("[y/N]")
        terminal.types("y\n")
        terminal.shows("3 runs REVOKED")
        assert terminal.ends() == 0
