"""Wrong use, help, and start: the command line as a process, without any fleet."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from cli_process import INFRA, Terminal, environment, infra

from infra_tasks import __version__
from infra_tasks.cli.group import NAMES

HEAVY = ("celery", "kombu", "redis", "pydantic", "rich", "fabric", "paramiko", "psutil", "asyncio", "difflib")


@pytest.fixture
def home(tmp_path):
    return tmp_path / "home"


def loaded_by(code, home):
    """Return which heavy modules a process has loaded after running `code`."""
    probe = f"import sys\n{code}\nprint([name for name in {HEAVY} if name in sys.modules], file=sys.stderr)"
    done = subprocess.run(
        [sys.executable, "-c", probe], env=environment(home), capture_output=True, text=True, check=True
    )
    return done.stderr.splitlines()[-1]


@pytest.mark.parametrize(
    "line", [["--help"], ["run", "--help"], ["sync", "--help"], ["key", "accept", "--help"], ["--version"], []]
)
def test_help_and_version_load_nothing_heavy(home, line):
    assert loaded_by(f"from infra_tasks.cli.entry import run\nrun({line!r})", home) == "[]"


def test_a_status_loads_neither_celery_nor_fabric(home):
    infra(home, "init")
    loaded = loaded_by("from infra_tasks.cli.entry import run\nrun(['status'])", home)
    assert "redis" in loaded
    assert not {"celery", "kombu", "fabric"} & set(json.loads(loaded.replace("'", '"')))


def test_infra_alone_shows_what_to_begin_with(home):
    done = infra(home)
    assert done.code == 0
    for words in ("infra init", "infra up --detach", "infra run -- echo hello"):
        assert words in done.out


@pytest.mark.parametrize("name", NAMES)
def test_every_command_has_help_with_examples(home, name):
    done = infra(home, *name.split(), "--help")
    assert done.code == 0
    assert f"infra {name}" in done.out.split("Examples:")[1]
    assert "--json" in done.out


@pytest.mark.parametrize(("noun", "verbs"), [("key", ("accept", "list", "forget")), ("release", ("prune",))])
def test_a_noun_alone_shows_what_can_be_done_with_it(home, noun, verbs):
    for line in ([noun], [noun, "--help"]):
        done = infra(home, *line)
        assert (done.code, done.err) == (0, "")
        assert all(f"{noun} {verb}  " in done.out for verb in verbs)
    assert all(f"{noun} {verb}  " in infra(home).out for verb in verbs)


def test_the_version_is_told(home):
    assert infra(home, "--version").out == f"infra {__version__}\n"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (["rnu"], "did you mean 'run'"),
        (["statsu"], "did you mean 'status'"),
        (["xyzzy"], "no command 'xyzzy'"),
        (["key", "acept", "x"], "no command 'key acept'; did you mean 'accept'"),
        (["release", "xyzzy"], "no command 'release xyzzy'"),
        (["run"], "COMMAND"),
        (["run", "--nod", "x", "--", "true"], "--node"),
        (["run", "--timeout", "soon", "--", "true"], "1h30m"),
        (["run", "--env", "NOT_SET_ANYWHERE", "--", "true"], "NOT_SET_ANYWHERE=VALUE"),
        (["extend", "x"], "--by"),
        (["extend", "x", "--by", "0"], "more than nothing"),
        (["show"], "RUN"),
        (["runs", "--state", "DONE"], "success"),
        (["runs", "--limit", "0"], "1<=x<="),
        (["logs", "x", "--attempt", "0"], "x>=1"),
        (["init", "--project", "hello"], "NAME=PATH"),
    ],
)
def test_wrong_use_is_one_error_with_exit_code_2(home, line, said):
    done = infra(home, *line)
    assert done.code == 2
    assert done.err.startswith("error: ")
    assert said in done.err
    assert "--help" in done.err
    assert "Traceback" not in done.err
    assert done.out == ""


COMMANDS = [
    ["show", "x"],
    ["runs"],
    ["cancel", "x"],
    ["logs", "x"],
    ["extend", "x", "--by", "5m"],
    ["retry", "x"],
    ["run", "--", "true"],
    ["status"],
    ["up"],
    ["up", "--detach"],
    ["sync", "x"],
    ["sync", "x", "--dry-run"],
    ["syncs"],
    ["releases"],
    ["release", "prune"],
    ["key", "accept", "x"],
    ["key", "list"],
    ["key", "forget", "x"],
]


@pytest.mark.parametrize("line", COMMANDS)
def test_without_a_fleet_every_command_says_how_to_make_one(home, line):
    done = infra(home, *line)
    assert done.code == 3
    assert "infra init" in done.err
    assert done.err.startswith("error: ")
    assert "Traceback" not in done.err


def test_a_fleet_that_is_not_up_says_how_to_start_it(home):
    infra(home, "init")
    for line in (["runs"], ["run", "--", "true"], ["show", "x"]):
        done = infra(home, *line)
        assert done.code == 3
        assert "infra up --detach" in done.err


def test_stopping_a_node_that_is_not_up_is_fine(home):
    infra(home, "init")
    done = infra(home, "down")
    assert (done.code, done.err) == (0, "")
    assert "nothing to stop" in done.out
    assert json.loads(infra(home, "down", "--json").out) == {"was_up": False, "commands_ended": 0}


def test_a_wrong_nodes_json_is_told_by_every_command(home):
    infra(home, "init")
    (home / "nodes.json").write_text('{"fleet": "home", "nodse": {}}')
    for line in (["runs"], ["run", "--", "true"], ["status"], ["up", "--detach"], ["init"]):
        done = infra(home, *line)
        assert done.code == 2
        assert "nodse" in done.err
        assert "did you mean 'nodes'" in done.err


def test_an_error_in_json_is_one_object_on_stderr(home):
    done = infra(home, "runs", "--json")
    said = json.loads(done.err)["error"]
    assert done.out == ""
    assert (said["kind"], said["exit_code"]) == ("FleetUnreachable", 3)
    assert "infra init" in said["message"]
    wrong = infra(home, "runs", "--jsno", "--json")
    assert json.loads(wrong.err)["error"]["exit_code"] == 2


def test_a_traceback_is_shown_only_on_request(home):
    for line in (["--debug", "runs"], ["runs", "--debug"]):
        assert "Traceback" in infra(home, *line).err
    assert "Traceback" not in infra(home, "runs").err


def test_a_pipe_gets_no_colours_and_neither_who_does_not_want_them(home):
    assert "\x1b[" not in infra(home, "runs").err
    with Terminal(home, "runs") as terminal:
        assert terminal.ends() == 3
        assert "\x1b[31m" in terminal.seen
    for env in ({"NO_COLOR": "1"}, {"TERM": "dumb"}):
        with Terminal(home, "runs", **env) as terminal:
            assert terminal.ends() == 3
            assert "\x1b[" not in terminal.seen


def test_a_narrow_terminal_shows_whole_help(home):
    with Terminal(home, "--help", columns=30) as terminal:
        assert terminal.ends() == 0
        assert "To begin" in terminal.seen


@pytest.mark.parametrize("line", [["--help"], ["run", "--help"], ["init"], ["--version"], []])
def test_a_reader_that_went_away_is_told_by_nothing_but_the_exit_code(home, line):
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        [*INFRA, *line], env=environment(home), stdout=write, stderr=subprocess.PIPE, text=True, check=False
    )
    os.close(write)
    assert done.stderr == ""
    assert done.returncode == 141
