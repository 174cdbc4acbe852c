"""Wrong use, help, and start: the command line as a process, without any fleet."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from ast import literal_eval
from importlib import import_module

import click
import pytest
from cli_process import INFRA, Done, Terminal, environment, infra

from infra_tasks import __version__
from infra_tasks.cli.catalogue import ENTRIES, NAMES, SECTIONS

HEAVY = ("celery", "kombu", "redis", "pydantic", "rich", "yaml", "fabric", "paramiko", "cryptography", "psutil",
         "asyncio", "difflib")  # fmt: skip


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
    "line",
    [["--help"], ["run", "--help"], ["sync", "--help"], ["key", "accept", "--help"], ["--version"], ["version"], []],
)
def test_help_and_version_load_nothing_heavy(home, line):
    assert loaded_by(f"from infra_tasks.cli.entry import run\nrun({line!r})", home) == "[]"


def test_a_status_loads_little_and_no_models_where_nodes_json_was_found_right_before(home):
    infra(home, "init")
    status = "from infra_tasks.cli.entry import run\nrun(['status'])"
    assert not {"celery", "kombu", "fabric", "yaml", "psutil"} & set(literal_eval(loaded_by(status, home)))
    (home / "nodes.accepted.json").write_bytes((home / "nodes.json").read_bytes())
    loaded = set(literal_eval(loaded_by(status, home)))
    assert "redis" in loaded
    assert not loaded & {"celery", "kombu", "pydantic", "rich", "yaml", "fabric", "paramiko", "psutil", "difflib"}


def test_infra_alone_shows_what_to_begin_with(home):
    done = infra(home)
    assert done.code == 0
    for words in ("infra init", "infra up --detach", "infra run -- echo hello"):
        assert words in done.out


def test_the_help_has_its_commands_by_what_they_are_for(home):
    help_text = infra(home, "--help").out
    titles = [line.removesuffix(":") for line in help_text.splitlines() if line.removesuffix(":") in SECTIONS]
    assert titles == ["Run", "Look", "Fleet", "Operate"]
    said = json.loads(infra(home, "--json").out)
    assert {name for section in said["commands"].values() for name in section} == set(NAMES)


def test_json_may_be_asked_for_before_the_command_or_behind_it(home):
    for line in (["--json", "version"], ["version", "--json"]):
        assert json.loads(infra(home, *line).out)["infra"] == __version__
    assert json.loads(infra(home, "--json", "runs").err)["error"]["exit_code"] == 3


@pytest.mark.parametrize("name", NAMES)
def test_every_command_has_help_with_examples(name):
    command = import_module(ENTRIES[name].module).command
    assert command.name == name.split(" ")[-1]
    assert all("infra " in line for line in command.examples)
    assert any(line.startswith(f"infra {name}") for line in command.examples)
    help_text = command.get_help(click.Context(command, info_name=f"infra {name}"))
    assert all(line in help_text.split("Examples:")[1] for line in command.examples)
    assert {"--json", "--debug"} <= {opt for param in command.params for opt in param.opts}
    assert command.help.split(".")[0], "what it does stands first"
    repeatable = [param for param in command.params if isinstance(param, click.Option) and param.multiple]
    assert " ".join(help_text.split()).count("May be repeated.") == len(repeatable)


@pytest.mark.parametrize(("noun", "verbs"), [("key", ("accept", "list", "forget")), ("release", ("prune",))])
def test_a_noun_alone_shows_what_can_be_done_with_it(home, noun, verbs):
    for line in ([noun], [noun, "--help"]):
        done = infra(home, *line)
        assert (done.code, done.err) == (0, "")
        assert all(f"{noun} {verb}  " in done.out for verb in verbs)
    assert all(f"{noun} {verb}  " in infra(home).out for verb in verbs)


def test_the_version_is_told(home):
    assert infra(home, "--version").out == f"infra {__version__}\n"
    said = json.loads(infra(home, "version", "--json").out)
    assert set(said) == {"infra", "python", "celery", "redis_client", "platform"}
    assert all(text in infra(home, "version").out for text in said.values())


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (["rnu"], "did you mean 'run'"),
        (["statsu"], "did you mean 'status'"),
        (["xyzzy"], "no command 'xyzzy'"),
        (["key", "acept", "x"], "no command 'key acept'; did you mean 'accept'"),
        (["release", "xyzzy"], "no command 'release xyzzy'"),
        (["run"], "COMMAND is missing: infra run [OPTIONS] -- COMMAND..."),
        (["run", "--nod", "x", "--", "true"], "no option '--nod'; did you mean '--node'?"),
        (["version", "now"], "too much was given: now"),
        (
            ["run", "--timeout", "soon", "--", "true"],
            "--timeout: found 'soon'; allowed: seconds, or a span like 90s, 10m, 1h30m",
        ),
        (["run", "--env", "NOT_SET_ANYWHERE", "--", "true"], "NOT_SET_ANYWHERE=VALUE"),
        (["extend", "x"], "--by is missing: infra extend [OPTIONS] RUN"),
        (["extend", "x", "--by", "0"], "more than nothing"),
        (["show"], "RUN is missing"),
        (["runs", "--state", "sucess"], "found 'sucess'; did you mean 'SUCCESS'?; allowed: PENDING"),
        (["runs", "--limit", "0"], "found 0; allowed: a whole number from 1 to "),
        (["logs", "x", "--attempt", "0"], "found 0; allowed: a whole number, at least 1"),
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
    ["config", "show"],
    ["config", "check"],
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


def test_what_a_user_typed_is_told_without_what_a_terminal_would_obey(home):
    evil = "\x1b]0;owned\x07\u202e\udcff"
    for line in (["show", "x", evil], ["submit", evil], [evil], ["run", f"--{evil}"], ["schema", evil]):
        done = infra(home, *line)
        assert done.code == 2
        assert all(sign.isprintable() for sign in done.err.replace("\n", "")), done.err
        assert "owned" in done.err


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


def shell(home, line):
    """Run a line of a shell, in which $INFRA is the command."""
    done = subprocess.run(
        ["sh", "-c", line], env=environment(home, INFRA=" ".join(INFRA)), capture_output=True, text=True, check=False
    )
    return Done(done.returncode, done.stdout, done.stderr)


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("where", [">/dev/full", ">&-"])
@pytest.mark.parametrize("line", ["version", "--help"])
def test_an_answer_that_cannot_be_written_is_one_sentence_and_exit_code_1(home, line, where, unbuffered):
    done = shell(home, f"PYTHONUNBUFFERED={unbuffered} $INFRA {line} {where}")
    assert done.code == 1
    assert done.err.startswith("error: the answer could not be written to stdout: ")
    assert len(done.err.splitlines()) == 1


@pytest.mark.parametrize(
    ("line", "code"),
    [("version 2>&- >/dev/null", 0), ("runs 2>&-", 3), ("runs 2>/dev/full", 3), ("runs <&- >&- 2>&-", 3),
     ("versio >/dev/full", 2), ("runs --json 2>/dev/full", 3)],
)  # fmt: skip
def test_the_exit_code_is_true_where_an_error_cannot_be_told(home, line, code):
    assert shell(home, f"$INFRA {line}").code == code
