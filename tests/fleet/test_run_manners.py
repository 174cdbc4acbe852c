"""How much `infra run` says, and what becomes of the run where its output cannot be written."""

from __future__ import annotations

import json
import subprocess

import pytest
from cli_process import INFRA, Terminal
from whole_node import ROOT

pytestmark = pytest.mark.fleet

TALKS = ["sh", "-c", "echo out; echo err >&2; exit 5"]


def test_who_does_not_follow_gets_the_exit_code_alone(node):
    done = node.infra("run", "--no-follow", "--", *TALKS)
    assert (done.returncode, done.stdout, done.stderr) == (5, "", "")
    done = node.infra("run", "--follow", "--", *TALKS)
    assert (done.returncode, done.stdout, done.stderr) == (5, "out\n", "err\n")


def test_a_quiet_run_says_nothing_but_its_output_on_a_terminal_too(node):
    with Terminal(node.home, "run", "--", *TALKS) as terminal:
        assert terminal.ends() == 5
        assert "infra: run " in terminal.seen
    with Terminal(node.home, "run", "--quiet", "--", *TALKS) as terminal:
        assert terminal.ends() == 5
        assert sorted(terminal.seen.split()) == ["err", "out"]


def test_a_disk_that_is_full_below_stdout_does_not_end_the_run(node):
    done = subprocess.run(
        ["sh", "-c", f"{' '.join(INFRA)} run --name unheard -- echo x >/dev/full"], env=node.env, cwd=ROOT,
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert "the output cannot be written (No space left on device); run " in done.stderr
    run = json.loads(node.infra("runs", "--name", "unheard", "--json").stdout)[0]
    assert run["id"][:8] in done.stderr
    assert json.loads(node.infra("show", run["id"], "--json").stdout)["state"] in {"STARTED", "SUCCESS"}
