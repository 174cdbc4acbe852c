"""Wrong input of every kind, through Python and through the command line: one clear error, never a traceback."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.fleet

# spec, words that must be in the complaint
WRONG = {
    "unknown field": ({"command": ["true"], "timeout": 5}, ["timeout", "timeout_s"]),
    "misspelt field": ({"comand": ["true"]}, ["comand", "did you mean 'command'"]),
    "no command": ({"name": "x"}, ["command"]),
    "empty command": ({"command": []}, ["command", "empty"]),
    "empty text": ({"command": "  "}, ["command", "empty"]),
    "command of numbers": ({"command": [1, 2]}, ["command"]),
    "command is a number": ({"command": 5}, ["command"]),
    "NUL in an argument": ({"command": ["echo", "a\0b"]}, ["command", "NUL"]),
    "NUL in the environment": ({"command": ["true"], "env": {"A": "a\0b"}}, ["env", "NUL"]),
    "no name of a variable": ({"command": ["true"], "env": {"A=B": "x"}}, ["env", "A=B"]),
    "a variable of ours": ({"command": ["true"], "env": {"INFRA_RUN": "x"}}, ["env", "INFRA_"]),
    "env is a list": ({"command": ["true"], "env": ["A=1"]}, ["env"]),
    "huge argument": ({"command": ["echo", "x" * 200_000]}, ["command", "longer than"]),
    "huge spec": ({"command": ["echo", *["x" * 100_000] * 12]}, ["bytes", "at most"]),
    "limit is a text": ({"command": ["true"], "timeout_s": "5"}, ["timeout_s"]),
    "limit above the ceiling": ({"command": ["true"], "timeout_s": 7201}, ["timeout_s", "7200"]),
    "limit of nothing": ({"command": ["true"], "timeout_s": 0}, ["timeout_s"]),
    "negative grace": ({"command": ["true"], "grace_s": -1}, ["grace_s"]),
    "half a retry": ({"command": ["true"], "retries": 1.5}, ["retries"]),
    "too many retries": ({"command": ["true"], "retries": 21}, ["retries", "20"]),
    "yes is no number": ({"command": ["true"], "retries": True}, ["retries"]),
    "unknown reason": ({"command": ["true"], "retry_on": ["exitcode"]}, ["retry_on", "did you mean 'exit_code'"]),
    "one reason": ({"command": ["true"], "retry_on": "signal"}, ["retry_on", "a list"]),
    "unknown project": ({"command": ["true"], "project": "hullo"}, ["project", "hullo", "nodes.json"]),
    "unknown node": ({"command": ["true"], "node": "mac-1"}, ["node", "mac-1", "nodes.json"]),
    "node is no word": ({"command": ["true"], "node": "../n1"}, ["node"]),
    "unknown label": ({"command": ["true"], "labels": ["gpus"]}, ["labels", "did you mean 'gpu'"]),
    "a label the node has not": (
        {"command": ["true"], "node": "n1", "labels": ["gpu", "big"]},
        ["labels", "n1", "big"],
    ),
    "labels are a text": ({"command": ["true"], "labels": "gpu"}, ["labels", "a list"]),
    "outputs from anywhere": (
        {"command": ["true"], "outputs": ["/etc/*"]},
        ["outputs[0]", "/etc/*", "below the folder"],
    ),
    "notify": ({"command": ["true"], "notify": "me"}, ["notify", "not yet"]),
    "lease that cannot hold": ({"command": ["true"], "stop_after_s": 120}, ["stop_after_s", "lost_after_s"]),
    "a name of two lines": ({"command": ["true"], "name": "a\nb"}, ["name"]),
    "a list": (["true"], ["a spec is a RunSpec or a dict"]),
    "nothing": (None, ["a spec is a RunSpec or a dict"]),
    "a text": ("true", ["a spec is a RunSpec or a dict"]),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_spec_is_refused_by_delay_naming_the_field(call, case):
    def delay(spec):
        from infra_tasks import run_spec

        run_spec.delay(spec)

    spec, words = WRONG[case]
    raised = call.fails(delay, spec)
    assert raised.kind == "BadSpec"
    for word in words:
        assert word in raised.said
    assert len(raised.said) < 2000


def test_a_wrong_call_of_delay_is_refused_in_words(call):
    def bare():
        from infra_tasks import run_spec

        run_spec.delay()

    def by_keywords():
        from infra_tasks import run_spec

        run_spec.delay(command=["true"])

    def a_number_as_key():
        from infra_tasks import run_spec

        run_spec.delay({"command": ["true"], 5: 5})

    assert "takes a spec" in call.fails(bare).said
    assert "'command'" in call.fails(by_keywords).said
    assert call.fails(a_number_as_key).kind == "BadSpec"


def test_a_home_without_a_fleet_says_how_to_make_one(node, tmp_path):
    said = node.python(
        "-c",
        "from infra_tasks import run_spec; run_spec.delay({'command': ['true']})",
        env={"INFRA_HOME": str(tmp_path)},
    )
    assert said.returncode == 1
    assert "infra init" in said.stderr.splitlines()[-1]


LINES = {
    "unknown project": (["run", "--project", "hullo", "--", "true"], ["hullo"]),
    "unknown node": (["run", "--node", "mac-1", "--", "true"], ["mac-1"]),
    "unknown label": (["run", "--label", "gpus", "--", "true"], ["did you mean 'gpu'"]),
    "limit above the ceiling": (["run", "--timeout", "3h", "--", "true"], ["timeout"]),
    "limit of words": (["run", "--timeout", "soon", "--", "true"], ["soon"]),
    "no command": (["run"], ["COMMAND"]),
    "empty command": (["run", "--", ""], ["empty"]),
    "a variable of ours": (["run", "--env", "INFRA_RUN=x", "--", "true"], ["INFRA_"]),
    "unknown option": (["run", "--retry", "3", "--", "true"], ["--retries"]),
    "unknown command": (["rum"], ["run"]),
    "unknown run": (["show", "nobody-knows"], ["nobody-knows", "infra runs"]),
    "extend by nothing": (["extend", "nobody-knows", "--by", "0"], []),
    "cancel the unknown": (["cancel", "nobody-knows"], ["nobody-knows"]),
    "retry the unknown": (["retry", "nobody-knows"], ["nobody-knows"]),
}


@pytest.mark.parametrize("case", LINES)
def test_a_wrong_command_line_ends_with_2_and_one_clear_error(node, case):
    line, words = LINES[case]
    said = node.infra(*line)
    assert said.returncode == 2, said
    assert "Traceback" not in said.stderr
    for word in words:
        assert word in said.stderr
