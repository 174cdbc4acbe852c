"""Completing `infra` in a real bash, and what shells are answered: what fits, or nothing."""

from __future__ import annotations

import json
import os
import socket
import subprocess

import pytest
from cli_process import INFRA, Terminal, environment, infra

from infra_tasks.cli.door import open_fleet
from infra_tasks.ledger import open_ledger
from infra_tasks.settings import Home
from infra_tasks.submit import submit

PROMPT = "ready> "
# Completing may take long on a busy machine: here it always answers.
PATIENT = {"INFRA_COMPLETION_S": "60"}


@pytest.fixture
def home(tmp_path, redis_process):
    """A fleet without anybody to take runs, whose Redis is somewhere else."""
    made = Home(tmp_path / "home")
    made.root.mkdir()
    nodes = {
        "mac-1": {"ssh": "local", "root": str(made.root), "labels": ["gpu"]},
        "mac-2": {"ssh": "a@b", "root": "/r"},
    }
    projects = {"trainer": {"source": "~/x", "node": "mac-1"}}
    said = {"fleet": "t", "broker": redis_process.url, "nodes": nodes, "projects": projects}
    made.nodes_json.write_text(json.dumps(said))
    return made


@pytest.fixture
def run(home):
    ledger = open_ledger(home)
    ledger.scripts.client.flushall()
    yield submit(ledger, open_fleet(home), {"command": "true", "name": "night run"}, run_id="some-run-chosen-by-hand")
    ledger.scripts.client.flushall()
    ledger.close()


def offered(home, line, shell="bash", **env):
    """Return what a shell is answered for a line whose last word is to be completed."""
    words = line.split(" ")
    asked = {"COMP_WORDS": line, "COMP_CWORD": str(len(words) - 1), "_INFRA_COMPLETE": f"{shell}_complete"}
    done = subprocess.run(
        INFRA, env=environment(home.root, **{**PATIENT, **asked, **env}), capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    return [each.removeprefix("plain,") for each in done.stdout.splitlines() if each]


@pytest.mark.parametrize(
    ("line", "offers"),
    [
        ("infra ver", ["version"]),
        ("infra key ", ["accept", "list", "forget"]),
        ("infra config s", ["show"]),
        ("infra run --nod", ["--node"]),
        ("infra run --node ", ["mac-1", "mac-2"]),
        ("infra sync tr", ["trainer"]),
        ("infra run --label ", ["gpu"]),
        ("infra show some", ["some-run-chosen-by-hand"]),
        ("infra cancel ", ["some-run-chosen-by-hand"]),
        ("infra retry x", []),
        ("infra submit ", ["file,"]),
        ("infra nothing ", []),
    ],
)
def test_a_shell_is_offered_what_fits(home, run, line, offers):
    assert offered(home, line) == offers


def test_zsh_is_told_what_a_run_is(home, run):
    assert offered(home, "infra show ", "zsh") == ["plain", run, "QUEUED night run"]


def test_what_cannot_be_asked_offers_nothing_and_says_nothing(home):
    fine = home.nodes_json.read_text()
    with socket.create_server(("127.0.0.1", 0)) as mute:
        broker = f"redis://127.0.0.1:{mute.getsockname()[1]}/0"
        home.nodes_json.write_text(json.dumps({**json.loads(fine), "broker": broker}))
        assert offered(home, "infra show ", INFRA_COMPLETION_S="0.5") == []
    assert offered(home, "infra show ", INFRA_COMPLETION_S="0.5") == []
    home.nodes_json.write_text("{")
    assert offered(home, "infra run --node ") == offered(home, "infra show ") == []
    home.nodes_json.unlink()
    assert offered(home, "infra run --node ") == []
    assert offered(home, "infra ver") == ["version"]


def test_names_are_completed_in_a_real_bash(home, run, tmp_path):
    program = tmp_path / "bin" / "infra"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {" ".join(INFRA)} "$@"\n')
    program.chmod(0o755)
    env = {**PATIENT, "PATH": f"{program.parent}{os.pathsep}{os.environ['PATH']}", "PS1": PROMPT, "TERM": "dumb"}
    with Terminal(home.root, "--norc", "--noprofile", "-i", program=["bash"], **env) as bash:
        bash.shows(PROMPT)
        for typed, completed in [
            ("source <(infra completion bash); echo loa''ded\n", "loaded"),
            ("infra versi\t", "infra version "),
            ("\x15infra run --project tr\t", "infra run --project trainer "),
            ("\x15infra show some\t", f"infra show {run} "),
            ("\x15infra config check nodes.j\t", "infra config check nodes.json "),
        ]:
            bash.types(f"cd {home.root}\n" if typed.startswith("source") else "")
            bash.types(typed)
            bash.shows(completed)
        bash.types("\x15echo the en''d\n")
        bash.shows("the end")


@pytest.mark.parametrize(
    ("shell", "says"), [("bash", "complete -o"), ("zsh", "#compdef infra"), ("fish", "complete --")]
)
def test_each_shell_has_its_script(home, shell, says):
    done = infra(home.root, "completion", shell)
    assert says in done.out
    assert json.loads(infra(home.root, "completion", shell, "--json").out) == {"shell": shell, "script": done.out}
