"""`infra init`: makes nodes.json, and is safe to repeat."""

from __future__ import annotations

import json

import pytest
from cli_process import infra

from infra_tasks.model.fleet import parse_fleet


@pytest.fixture
def home(tmp_path):
    return tmp_path / "home"


@pytest.fixture
def source(tmp_path):
    folder = tmp_path / "code" / "hello"
    folder.mkdir(parents=True)
    return folder


def fleet_in(home):
    return parse_fleet((home / "nodes.json").read_bytes())


def test_it_makes_a_fleet_of_one_node(home, source):
    done = infra(home, "init", "--name", "mac-1", "--fleet", "lab", "--slots", "4", "--label", "gpu", "--label", "big",
                 "--project", f"hello={source}")  # fmt: skip
    assert done.code == 0, done.err
    fleet = fleet_in(home)
    assert (fleet.name, fleet.broker, list(fleet.nodes)) == ("lab", "embedded", ["mac-1"])
    node = fleet.nodes["mac-1"]
    assert (node.root, node.slots, set(node.labels)) == (str(home), 4, {"gpu", "big"})
    assert (fleet.projects["hello"].source, fleet.projects["hello"].node) == (str(source), "mac-1")
    assert json.loads((home / "node.json").read_text())["name"] == "mac-1"
    assert home.stat().st_mode & 0o077 == 0
    assert "mac-1" in done.out
    assert "infra up --detach" in done.out


def test_it_needs_no_options(home):
    assert infra(home, "init").code == 0
    assert fleet_in(home).name == "home"


def test_a_home_in_the_usual_place_is_written_as_people_do(tmp_path):
    assert infra("", "init", HOME=str(tmp_path)).code == 0
    text = (tmp_path / ".infra" / "nodes.json").read_text()
    assert '"~/.infra"' in text


def test_repeated_it_says_what_is_there_and_changes_nothing(home, source):
    first = ("init", "--name", "mac-1", "--project", f"hello={source}")
    infra(home, *first)
    before, uuid = (home / "nodes.json").read_bytes(), (home / "node.json").read_bytes()
    for again in (first, ("init",)):
        done = infra(home, *again)
        assert done.code == 0
        assert "is there" in done.out
        assert "hello" in done.out
    assert ((home / "nodes.json").read_bytes(), (home / "node.json").read_bytes()) == (before, uuid)


def test_it_adds_projects_and_keeps_what_else_is_written(home, source):
    infra(home, "init", "--name", "mac-1")
    raw = json.loads((home / "nodes.json").read_text())
    raw["limits"]["timeout_s"] = 60
    (home / "nodes.json").write_text(json.dumps(raw))
    done = infra(home, "init", "--project", f"hello={source}", "--json")
    assert json.loads(done.out)["projects_added"] == ["hello"]
    assert fleet_in(home).limits.timeout_s == 60
    assert list(fleet_in(home).projects) == ["hello"]


def test_it_refuses_to_change_what_the_user_wrote(home, source, tmp_path):
    infra(home, "init", "--name", "mac-1", "--project", f"hello={source}")
    before = (home / "nodes.json").read_bytes()
    for line, said in [
        (["--name", "mac-2"], "mac-2"),
        (["--slots", "9"], "slots"),
        (["--fleet", "other"], "fleet"),
        (["--label", "gpu"], "labels"),
        (["--project", f"hello={tmp_path}"], str(source)),
    ]:
        done = infra(home, "init", *line)
        assert done.code == 2
        assert said in done.err
    assert (home / "nodes.json").read_bytes() == before


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (["--name", "Mac 1"], "small letters"),
        (["--label", "GPU!"], "small letters"),
        (["--fleet", "-x"], "small letters"),
        (["--slots", "0"], "allowed: a whole number from 1 to 256"),
        (["--slots", "many"], "found 'many'; allowed: a whole number"),
        (["--label", "a", "--label", "a"], "twice"),
        (["--project", "Bad Name=."], "small letters"),
    ],
)
def test_what_cannot_be_a_fleet_is_refused_and_nothing_is_written(home, line, said):
    done = infra(home, "init", *line)
    assert done.code == 2
    assert said in done.err
    assert "Traceback" not in done.err
    assert not (home / "nodes.json").exists()


def test_a_folder_that_cannot_be_written_is_one_error(tmp_path):
    (tmp_path / "file").write_text("")
    done = infra(tmp_path / "file" / "home", "init")
    assert done.code in {1, 2}
    assert done.err.startswith("error: ")
    assert "Traceback" not in done.err
