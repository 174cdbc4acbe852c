"""nodes.json: what is right is read, what is wrong is said, and nothing else ever happens."""

from __future__ import annotations

import copy
import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from infra_tasks.errors import BadFleet
from infra_tasks.ledger.glance import glance
from infra_tasks.model.fleet import Fleet, new_fleet, parse_fleet
from infra_tasks.model.sketch import local_node, sketched
from infra_tasks.settings import Home

HOME = {
    "fleet": "home",
    "broker": "embedded",
    "limits": {"timeout_s": 7200},
    "nodes": {
        "mac-1": {"ssh": "local", "root": "~/.infra", "slots": 2, "labels": []},
        "mac-2": {"ssh": "me@mac-2.local:22", "root": "/Users/me/.infra", "slots": 4, "labels": ["gpu"]},
    },
    "projects": {"hello": {"source": "~/code/hello", "node": "mac-1", "exclude": [], "setup": None, "private": False}},
}


def changed(path: str, value: object) -> dict:
    """Return HOME with `value` at the dotted path."""
    fleet = copy.deepcopy(HOME)
    *steps, last = path.split(".")
    place = fleet
    for step in steps:
        place = place[step]
    place[last] = value
    return fleet


def refused(fleet: object) -> list[str]:
    """Return the problems that reading `fleet` names, without the headline."""
    text = fleet if isinstance(fleet, (str, bytes)) else json.dumps(fleet)
    with pytest.raises(BadFleet) as caught:
        parse_fleet(text)
    return [re.sub(r"^nodes\.json:\d+:\d+: ", "", line.strip()) for line in str(caught.value).splitlines()[1:]]


def test_the_fleet_of_the_documentation_is_read():
    fleet = parse_fleet(json.dumps(HOME))
    assert fleet.name == "home"
    assert fleet.nodes["mac-2"].slots == 4
    assert fleet.nodes["mac-2"].labels == ("gpu",)
    assert fleet.projects["hello"].source == "~/code/hello"
    assert fleet.projects["hello"].setup is None


def test_what_is_left_out_has_the_documented_default():
    fleet = parse_fleet('{"fleet": "f", "nodes": {"n": {"ssh": "local", "root": "~/.infra"}}}')
    limits = fleet.limits
    assert (fleet.broker, fleet.projects, fleet.nodes["n"].slots, fleet.nodes["n"].labels) == ("embedded", {}, 2, ())
    assert (limits.timeout_s, limits.grace_s, limits.retries, limits.output_bytes) == (7200, 10, 20, 64 * 2**20)
    assert (limits.lost_after_s, limits.stop_after_s, limits.keep_runs_days, limits.history_days) == (120, 60, 7, 30)
    assert limits.keep_releases == 5


@pytest.mark.parametrize("text", ["\ufeff" + json.dumps(HOME), json.dumps(HOME, indent=2).replace("\n", "\r\n")])
def test_a_byte_order_mark_and_windows_line_ends_do_no_harm(text):
    assert parse_fleet(text) == parse_fleet(text.encode()) == parse_fleet(json.dumps(HOME))


@pytest.mark.parametrize(
    "broker",
    [
        "redis://h:6379/0",
        "rediss://user:pa%40ss@h",
        "redis://[::1]:6379",
        "redis+sentinel://:pw@a:26379,b:26379/main?db=0",
    ],
)
def test_a_redis_somewhere_else_is_one_url_whose_login_is_not_shown(broker):
    fleet = parse_fleet(json.dumps(changed("broker", broker)))
    assert fleet.broker == broker
    assert "pa%40ss" not in repr(fleet)


@pytest.mark.parametrize("setup", ["uv sync", ["uv", "sync"]])
def test_a_setup_is_a_script_or_a_list_of_arguments(setup):
    read = parse_fleet(json.dumps(changed("projects.hello.setup", setup))).projects["hello"].setup
    assert read == (setup if isinstance(setup, str) else tuple(setup))


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("fleet", "My Home", 'fleet: found "My Home"; allowed: small letters'),
        ("fleet", "home\n", 'fleet: found "home\\n"; allowed: small letters'),
        (
            "flet",
            1,
            "flet: unknown; did you mean 'fleet'? (known: archive, broker, fleet, flower, limits, nodes, projects, s",
        ),
        ("broker", "embeded", 'broker: found "embeded"; allowed: "embedded", or a URL'),
        (
            "broker",
            "redi://me:secret@h",
            "broker: found \"redi://***@h\"; unknown scheme 'redi'; did you mean 'redis'?",
        ),
        ("broker", "redis://", 'broker: found "redis://"; allowed'),
        ("broker", "redis://h:99999", "broker: found \"redis://h:99999\"; 'h:99999' is not HOST or HOST:PORT"),
        ("broker", "redis://a:1,b:2", 'broker: found "redis://a:1,b:2"; several hosts need redis+sentinel://'),
        ("limits", None, "limits: found null; allowed: an object with timeout_s"),
        ("limits.timeout_s", 7201, "limits.timeout_s: found 7201; allowed: a number above 0 and at most 7200"),
        ("limits.timeout_s", "2h", 'limits.timeout_s: found "2h"; allowed: a number above 0 and at most 7200'),
        ("limits.timeout_s", 1e999, "Infinity is not a JSON number"),
        ("limits.keep_releases", 0, "limits.keep_releases: found 0; allowed: a whole number from 1 to 1000"),
        ("limits.retries", True, "limits.retries: found true; allowed: a whole number from 0 to 100"),
        ("limits.stop_after_s", 96, "limits: stop_after_s 96 + grace_s 10 + 15 is 121, more than lost_after_s 120"),
        ("nodes", {}, "nodes: found an empty object; allowed: an object with at least one entry"),
        ("nodes", [], "nodes: found an empty list; allowed: an object with at least one entry"),
        ("nodes.mac-1.slots", 0, "nodes.mac-1.slots: found 0; allowed: a whole number from 1 to 256"),
        ("nodes.mac-1.slots", 257, "nodes.mac-1.slots: found 257; allowed: a whole number from 1 to 256"),
        ("nodes.mac-1.slots", "4", 'nodes.mac-1.slots: found "4"; allowed: a whole number'),
        (
            "nodes.mac-1.slotz",
            4,
            "nodes.mac-1.slotz: unknown; did you mean 'slots'? (known: labels, root, secret_command",
        ),
        ("nodes.mac-1.labels", "gpu", 'nodes.mac-1.labels: found "gpu"; allowed: a list of at most 32'),
        ("nodes.mac-1.labels", ["a", "B!"], 'nodes.mac-1.labels[1]: found "B!"; allowed: small letters'),
        ("nodes.mac-1.labels", ["a", "a"], "nodes.mac-1.labels: a said twice; say each once"),
        ("nodes.mac-1.root", "infra", 'nodes.mac-1.root: found "infra"; allowed: a path that begins with / or ~'),
        ("nodes.mac-1.root", "/", 'nodes.mac-1.root: found "/"; allowed: a path'),
        ("nodes.mac-1.root", "/a/../b", 'nodes.mac-1.root: found "/a/../b"; allowed: a path'),
        ("nodes.mac-1.ssh", "locl", 'nodes.mac-1.ssh: found "locl"; allowed: "local", or user@host, or user@host:port'),
        ("nodes.mac-1.ssh", "me@-oProxyCommand=x", "nodes.mac-1.ssh: found"),
        ("nodes.mac-1.ssh", "-me@h", "nodes.mac-1.ssh: found"),
        ("nodes.mac-1.ssh", "me@h:0", 'nodes.mac-1.ssh: found "me@h:0"; port 0 is not from 1 to 65535'),
        ("nodes.Mac", {"ssh": "local", "root": "/x"}, 'nodes.Mac: found "Mac"; allowed: small letters'),
        ("nodes.mac-3", {"ssh": "local"}, "nodes.mac-3.root: missing; allowed: a path"),
        (
            "nodes.mac-3",
            {"ssh": "local", "root": "~/.infra/"},
            'nodes.mac-3.root: found "~/.infra/", the folder of nodes.mac-1',
        ),
        ("nodes.mac-3", {"ssh": "x@MAC-2.local", "root": "/Users/me//.infra"}, "nodes.mac-3.root: found"),
        ("projects.hello.node", "mac1", "projects.hello.node: found \"mac1\", no such node; did you mean 'mac-1'?"),
        ("projects.hello.setup", [], "projects.hello.setup: found an empty list; allowed: a text that is not empty"),
        ("projects.hello.setup", ["x", 1], "projects.hello.setup[1]: found 1; allowed: a text"),
        ("projects.hello.setup_timeout_s", 0, "projects.hello.setup_timeout_s: found 0; allowed: a number above 0"),
        ("projects.hello.private", "no", 'projects.hello.private: found "no"; allowed: true or false'),
        ("projects.hello.source", "code", 'projects.hello.source: found "code"; allowed: a path'),
        ("projects.hello.exclude", [""], 'projects.hello.exclude[0]: found ""; allowed: a text that is not empty'),
    ],
)
def test_one_wrong_word_gives_one_problem_with_path_finding_and_rule(path, value, said):
    problems = refused(changed(path, value))
    assert len(problems) == 1
    assert problems[0].startswith(said)
    assert "secret" not in problems[0].replace("secret_command", "")


def test_every_problem_is_named_at_once():
    fleet = changed("nodes.mac-1.slots", 0)
    fleet["limits"]["grace_s"] = -1
    fleet["projects"]["hello"]["node"] = "mac-9"
    fleet["nodes"]["mac-3"] = {"ssh": "local", "root": "~/.infra"}
    assert [line.partition(":")[0] for line in refused(fleet)] == [
        "limits.grace_s",
        "nodes.mac-1.slots",
        "nodes.mac-3.root",
        "projects.hello.node",
    ]


def test_nodes_on_one_machine_may_differ_in_their_folders_only():
    fleet = changed("nodes.mac-3", {"ssh": "local", "root": "~/.infra-3"})
    fleet["nodes"]["mac-4"] = {"ssh": "me@localhost", "root": "~/.infra-4"}
    fleet["nodes"]["mac-5"] = {"ssh": "you@mac-6.local", "root": "~/.infra"}
    fleet["nodes"]["mac-6"] = {"ssh": "me@mac-6.local", "root": "~/.infra"}
    assert len(parse_fleet(json.dumps(fleet)).nodes) == 6


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "the file is empty"),
        (" \r\n\t", "the file is empty"),
        ("\ufeff", "the file is empty"),
        ("[]", "the whole is a list"),
        ("null", "the whole is null"),
        ('"x"', "the whole is a text"),
        ("12.5", "the whole is a number"),
        ('{"fleet": "a",\r\n "nodes" {}}', "line 2, column 10: Expecting ':' delimiter"),
        ('{"nodes": {"a": {"ssh": "local", "ssh": "x"}}}', "nodes.a.ssh: written more than once"),
        ('{"limits": {"timeout_s": NaN}}', "NaN is not a JSON number"),
        ('{"limits": {"timeout_s": ' + "9" * 5000 + "}}", "a number in the text has thousands of digits"),
        ("[" * 200_000, "the text is nested too deep"),
        (b'{"fleet": "\xe4"}', "line 1 is not UTF-8 text (byte 11)"),
    ],
)
def test_what_is_not_one_json_object_is_said_with_its_place(text, said):
    assert refused(text)[0].startswith(said)


def test_a_syntax_error_shows_the_line_and_points_at_the_place():
    with pytest.raises(BadFleet) as caught:
        parse_fleet('{"fleet": "home",\n  "limits": {"timeout_s" 7200}}\n', path="/here/nodes.json")
    headline, problem, line, pointer = str(caught.value).splitlines()
    assert headline == "/here/nodes.json has a mistake:"
    assert "line 2, column 26" in problem
    assert line.strip() == '"limits": {"timeout_s" 7200}}'
    assert line[pointer.index("^")] == "7"


def test_a_fleet_cannot_be_made_wrong_or_changed_in_code_either():
    fleet = parse_fleet(json.dumps(HOME))
    with pytest.raises(ValidationError):
        Fleet.model_validate(changed("projects.hello.node", "nobody"))
    with pytest.raises(ValidationError):
        fleet.name = "other"


def test_the_node_of_a_folder_is_the_local_one_with_that_root():
    fleet = parse_fleet(json.dumps(changed("nodes.mac-3", {"ssh": "local", "root": "/srv/infra/"})))

    def expand(root: str) -> Path:
        return Path(root.replace("~", "/home/me"))

    assert local_node(fleet.nodes, Path("/home/me/.infra"), expand) == "mac-1"
    assert local_node(fleet.nodes, Path("/srv/infra"), expand) == "mac-3"
    assert local_node(fleet.nodes, Path("/Users/me/.infra"), expand) is None


@given(st.integers(1, 256), st.lists(st.sampled_from(["gpu", "big", "m_1"]), unique=True))
def test_a_new_fleet_is_read_back_as_it_was_meant(slots, labels):
    fleet = parse_fleet(json.dumps(new_fleet("home", "mac-1", slots, tuple(labels), root="/srv/infra")))
    assert (fleet.name, fleet.nodes["mac-1"].slots, fleet.nodes["mac-1"].labels) == ("home", slots, tuple(labels))
    assert local_node(fleet.nodes, Path("/srv/infra"), Path) == "mac-1"


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from(["local", "mac-1", "a@b:1"]),
    lambda inside: st.lists(inside, max_size=3) | st.dictionaries(st.text(), inside, max_size=3),
    max_leaves=10,
)
PLACES = [
    "fleet", "broker", "limits", "nodes", "projects", "limits.grace_s", "nodes.mac-1", "nodes.mac-1.ssh",
    "nodes.mac-1.root", "nodes.mac-1.labels", "projects.hello", "projects.hello.node", "projects.hello.setup",
]  # fmt: skip


def read_or_refused(text: str | bytes) -> None:
    said = ""
    try:
        parse_fleet(text)
    except BadFleet as error:
        said = str(error)
    said.encode("utf-8")
    assert all(line.isprintable() for line in said.splitlines())


@given(st.text() | st.binary())
def test_garbage_is_read_or_refused_and_nothing_else(text):
    read_or_refused(text)


@given(JSON_VALUES)
def test_any_json_is_read_or_refused_and_nothing_else(value):
    read_or_refused(json.dumps(value))


@given(st.lists(st.tuples(st.sampled_from(PLACES), JSON_VALUES), min_size=1, max_size=3))
def test_a_good_file_with_garbage_in_it_is_read_or_refused_and_nothing_else(changes):
    fleet = copy.deepcopy(HOME)
    for place, value in changes:
        *steps, last = place.split(".")
        target = fleet
        for step in steps:
            target = target.get(step) if isinstance(target, dict) else None
        if isinstance(target, dict):
            target[last] = value
    read_or_refused(json.dumps(fleet))


@given(st.integers(0, len(json.dumps(HOME))), st.integers(0, 40), st.text(max_size=5))
def test_a_good_file_cut_anywhere_is_read_or_refused_and_nothing_else(start, length, instead):
    text = json.dumps(HOME)
    read_or_refused(text[:start] + instead + text[start + length :])


@pytest.mark.parametrize("path", ["projects", "limits", "broker"])
def test_a_sketch_says_of_a_fleet_what_the_models_say(path):
    raw = changed("fleet", "f")
    del raw[path]
    fleet = parse_fleet(json.dumps(raw))
    sketch = sketched(raw)
    assert sketch == sketched(fleet.model_dump(mode="json", by_alias=True))
    assert (sketch.name, sketch.broker, list(sketch.nodes)) == (fleet.name, fleet.broker, list(fleet.nodes))
    assert (sketch.projects, sketch.labels) == (tuple(fleet.projects), ("gpu",))
    assert {name: node.is_local for name, node in sketch.nodes.items()} == {"mac-1": True, "mac-2": False}


def test_a_glance_believes_only_what_was_found_right(tmp_path):
    home = Home(tmp_path)
    home.nodes_json.write_text("\ufeff" + json.dumps(HOME))
    assert glance(home).name == "home"
    home.accepted_json.write_bytes(home.nodes_json.read_bytes())
    assert list(glance(home).nodes) == ["mac-1", "mac-2"]
    home.nodes_json.write_text(json.dumps(changed("nodse", {})))
    with pytest.raises(BadFleet, match="nodse"):
        glance(home)
