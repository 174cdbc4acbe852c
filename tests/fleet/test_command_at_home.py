"""What a command finds on its node - environment, folder, place - and what is measured of it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

pytestmark = pytest.mark.fleet


def get(spec):
    from infra_tasks import run_spec

    return run_spec.delay(spec).get(timeout=180)


def python(code):
    return ["python3", "-c", code]


def test_a_command_has_the_documented_environment_and_no_secret(call, node):
    code = "import json, os; print(json.dumps([dict(os.environ), os.getcwd()]))"
    spec = {"command": python(code), "env": {"MINE": "ä x", "PATH": "/usr/local/bin:/usr/bin:/bin"}}
    result = call(get, spec)
    env, cwd = json.loads(result["stdout_tail"])
    assert (env["MINE"], env["PATH"]) == ("ä x", spec["env"]["PATH"])
    assert (env["INFRA_RUN"], env["INFRA_ATTEMPT"], env["INFRA_NODE"]) == (result["id"], "1", "n1")
    assert env["INFRA_TOKEN"].startswith("1:")
    assert env["INFRA_COOKIE"]
    assert Path(env["INFRA_SCRATCH"]) == Path(cwd) == node.home / "runs" / result["id"] / "1" / "scratch"
    ours = {"INFRA_RUN", "INFRA_ATTEMPT", "INFRA_NODE", "INFRA_TOKEN", "INFRA_COOKIE", "INFRA_SCRATCH"}
    assert {name for name in env if name.startswith("INFRA_")} == ours
    assert "PYTHONPATH" not in env
    password = (node.home / "secrets" / "redis.password").read_text().strip()
    assert password not in result["stdout_tail"]


def test_a_command_inherits_no_open_file_and_no_ignored_signal(call):
    code = (
        "import os, signal\n"
        "print(sorted(int(fd) for fd in os.listdir('/dev/fd') if os.path.exists(f'/dev/fd/{fd}')))\n"
        "print([s.name for s in signal.Signals if signal.getsignal(s) == signal.SIG_IGN])\n"
        "print(signal.pthread_sigmask(signal.SIG_BLOCK, []), os.read(0, 1))"
    )
    files, ignored, blocked = call(get, {"command": python(code)})["stdout_tail"].splitlines()
    assert files == "[0, 1, 2]"
    assert ignored in {"['SIGPIPE', 'SIGXFSZ']", "['SIGPIPE', 'SIGXFZ', 'SIGXFSZ']"}  # Python's own doing
    assert blocked == "set() b''"


def test_memory_and_cpu_a_command_used_are_in_its_result(call):
    code = "import time; b = bytearray(100 << 20); t = time.process_time()\nwhile time.process_time() - t < 0.4: pass"
    result = call(get, {"command": python(code)})
    assert 100 << 20 <= result["max_rss_bytes"] < 200 << 20
    assert 0.35 <= result["cpu_s"] < 60
    small = call(get, {"command": ["true"]})
    assert small["max_rss_bytes"] < 30 << 20
    assert small["cpu_s"] < result["cpu_s"]


def test_much_output_is_kept_and_its_end_is_in_the_result(call, node):
    code = "import sys\nfor i in range(80000): sys.stdout.write(f'{i:063}\\n')"
    result = call(get, {"command": python(code)}, within_s=240)
    assert result["stdout_tail"].endswith(f"{79999:063}\n")
    assert len(result["stdout_tail"]) <= 8192
    said = node.infra("logs", result["id"])
    assert said.returncode == 0
    assert said.stdout.splitlines() == [f"{i:063}" for i in range(80000)]


def test_binary_output_and_broken_utf_8_arrive(call, node):
    code = "import os; os.write(1, bytes(range(256)) * 4); os.write(2, b'\\xff\\xfe\\x00 end')"
    result = call(get, {"command": python(code)})
    assert result["stderr_tail"].endswith(" end")
    assert "abc" in result["stdout_tail"]
    assert "\x00" in result["stdout_tail"]


def test_arguments_reach_the_command_unchanged(call):
    words = ["", " ", "a b", "*", "$HOME", "'", '"', "\\n", "ä€😀", "-x", "--", "new\nline", "x" * 100_000]
    code = "import json, sys; from hashlib import sha256\nprint(sha256(json.dumps(sys.argv[1:]).encode()).hexdigest())"
    from hashlib import sha256

    result = call(get, {"command": [*python(code), *words]})
    assert result["stdout_tail"].strip() == sha256(json.dumps(words).encode()).hexdigest()


def test_a_command_that_leaves_a_daemon_behind_ends_with_none(call, node):
    result = call(get, {"command": ["sh", "-c", "setsid sh -c 'sleep 321 & sleep 322' & echo up"]})
    assert (result["state"], result["survivors"]) == ("SUCCESS", 0)
    assert not [one for one in node.run_processes() if "32" in " ".join(one.cmdline())]


@pytest.mark.parametrize(
    "where", [{"node": "n1"}, {"labels": ["gpu"]}, {"labels": []}, {"node": "n1", "labels": ["gpu"]}]
)
def test_a_run_goes_where_its_spec_lets_it(call, where):
    assert call(get, {"command": ["true"], **where})["node"] == "n1"


def test_no_more_runs_than_slots_at_any_moment(call, tmp_path):
    def many(path):
        from infra_tasks import submit_many

        code = f"echo + >> {path}; sleep 0.1; echo - >> {path}"
        specs = [{"command": code}, {"command": code, "node": "n1"}, {"command": code, "labels": ["gpu"]}] * 6
        return [one.get(timeout=180)["state"] for one in submit_many(specs)]

    assert call(many, str(tmp_path / "moments")) == ["SUCCESS"] * 18
    at_once = most = 0
    for sign in (tmp_path / "moments").read_text().split():
        at_once += 1 if sign == "+" else -1
        most = max(most, at_once)
    assert (at_once, most) == (0, 2)
