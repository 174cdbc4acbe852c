"""`infra config` and `infra schema`: what is written, where it stands, and what is wrong with it."""

from __future__ import annotations

import json

import pytest
from cli_process import infra

BROKEN = """{
  "fleet": "x y",
  "nodes": {
    "mac-1": {"ssh": "local", "root": "~/.infra", "slotz": 5},
    "mac-2": {"ssh": "loca", "root": "x"}
  },
  "projects": {"p": {"source": "~/x", "node": "mac-3"}}
}
"""


@pytest.fixture
def home(tmp_path):
    home = tmp_path / "home"
    home.mkdir()
    said = {"fleet": "home", "broker": "redis://me:hidden@h:1/0", "limits": {"timeout_s": 60}}
    nodes = {"nodes": {"n1": {"ssh": "local", "root": str(home)}}}
    (home / "nodes.json").write_text("\ufeff" + json.dumps({**said, **nodes}, indent=1).replace("\n", "\r\n"))
    return home


def test_every_mistake_of_nodes_json_is_told_at_once_with_its_place(home, tmp_path):
    path = tmp_path / "new.json"
    path.write_text(BROKEN)
    done = infra(home, "config", "check", str(path))
    assert (done.code, done.out) == (2, "")
    lines = done.err.splitlines()
    assert lines[0] == f"error: {path} has 5 mistakes:"
    for line, said in zip(
        lines[1:],
        [
            ':2:12: fleet: found "x y"',
            ":4:51: nodes.mac-1.slotz: unknown; did you mean 'slots'?",
            ':5:22: nodes.mac-2.ssh: found "loca"; allowed: "local", or user@host',
            ':5:38: nodes.mac-2.root: found "x"',
            ':7:47: projects.p.node: found "mac-3", no such node; did you mean \'mac-',
        ],
        strict=True,
    ):
        assert line.startswith(f"  {path}{said}")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"fleet": "a",\n "fleet": "b"}', ":2:2: fleet: written more than once"),
        ("{", "line 1, column 2"),
        ("", "the file is empty"),
        ("[]", "the whole is a list"),
    ],
)
def test_a_text_that_is_no_nodes_json_is_told_as_far_as_it_can_be_read(home, text, said):
    (home / "nodes.json").write_text(text)
    done = infra(home, "config", "check")
    assert (done.code, said in done.err) == (2, True), done.err


def test_a_right_nodes_json_is_said_to_be_right(home):
    done = infra(home, "config", "check")
    assert (done.code, done.out) == (0, f"{home}/nodes.json: right; fleet home, 1 node, 0 projects\n")
    assert json.loads(infra(home, "config", "check", "--json").out)["nodes"] == ["n1"]
    assert infra(home, "config", "check", "/nowhere").code == 2


def test_every_setting_tells_where_it_comes_from_and_no_password(home):
    done = infra(home, "config", "show", "--json", INFRA_INCLUDE="mine.tasks")
    said = {each["setting"]: each for each in json.loads(done.out)}
    assert said["limits.timeout_s"] == {"setting": "limits.timeout_s", "value": 60, "from": "nodes.json", "line": 5}
    assert (said["limits.retries"]["from"], said["limits.retries"]["line"]) == ("default", None)
    assert said["nodes.n1.ssh"]["line"] == 9
    assert (said["INFRA_HOME"]["value"], said["INFRA_HOME"]["from"]) == (str(home), "environment")
    assert said["INFRA_INCLUDE"]["value"] == "mine.tasks"
    assert said["broker"]["value"] == "redis://***@h:1/0"
    text = infra(home, "config", "show")
    assert "hidden" not in done.out + text.out
    assert ["limits.timeout_s", "60.0", "nodes.json:5"] in [line.split() for line in text.out.splitlines()]


def test_the_schemas_are_json(home):
    for what in ("spec", "nodes"):
        assert json.loads(infra(home, "schema", what).out)["$schema"].startswith("https://json-schema.org/")
    assert "did you mean 'nodes'?" in infra(home, "schema", "nodse").err
