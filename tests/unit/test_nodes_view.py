"""How nodes are told of: by what they said, as long as that can be true."""

from __future__ import annotations

import json

import pytest

from infra_tasks.cli.nodes_view import NEVER_SEEN, UNREACHABLE, UP, Own, views
from infra_tasks.ledger.code import HeldRelease
from infra_tasks.ledger.nodes import NodeSeen
from infra_tasks.model.fleet import new_fleet, parse_fleet

NOBODY = Own(None, [], watcher=False)
ROLES = [{"name": "redis", "state": "running", "restarts": 0, "since_at": 1.0},
         {"name": "worker", "state": "running", "restarts": 0, "since_at": 1.0}]  # fmt: skip
INFO = {"load": 6.0, "cpus": 8, "disk_free_bytes": 50 << 30, "memory_free_bytes": 2 << 30, "roles": ROLES,
        "watcher": True}  # fmt: skip


def fleet_of(*names):
    raw = new_fleet("home", names[0])
    for at, name in enumerate(names[1:]):
        raw["nodes"][name] = {"ssh": f"me@host{at}", "root": "/far", "slots": 4, "labels": ["gpu"]}
    return parse_fleet(json.dumps(raw))


def seen(name="n1", silent_s=1.0, info=INFO, live=1, **fields):
    said = {"seen_at": "5", "slots": "2", "version": "0.1.0", "info": json.dumps(info), "labels": '["gpu"]', **fields}
    return NodeSeen(name, said, live, silent_s)


def view(node, own=NOBODY, held=None, fleet=None):
    return views(fleet or fleet_of("n1"), [node], held or {}, own)[0]


def test_a_node_is_told_with_slots_load_room_roles_and_releases():
    found = view(seen(), held={"n1": [HeldRelease("d" * 64, "p", 1, 1, 1, 1, in_use=False)]})
    assert (found.state, found.load_per_core, found.labels) == (UP, 0.75, ("gpu",))
    assert found.row() == (
        "n1", "up", "1 of 2", "75%", "50.0 GiB free", "2.0 GiB free", "1", "0.1.0", "1.0s ago", "2 roles run",
    )  # fmt: skip
    assert found.as_json()["releases"] == [{"project": "p", "release": "d" * 64}]
    json.dumps(found.as_json())


def test_roles_of_a_node_that_was_not_heard_lately_are_not_known():
    found = view(seen(silent_s=7.0))
    assert (found.state, found.roles, found.watcher) == (UP, None, None)
    assert "unknown" in found.words()
    assert "run" not in found.words().replace("unknown", "")
    assert view(seen(silent_s=99.0)).state == UNREACHABLE


def test_a_role_that_does_not_run_and_a_dead_watcher_are_told():
    info = {**INFO, "roles": [ROLES[0], {**ROLES[1], "state": "dead"}], "watcher": False}
    words = view(seen(info=info)).words()
    assert words == "worker dead; its watcher is dead: nothing is started again"


def test_of_this_node_its_own_folder_is_believed_before_any_heartbeat():
    own = Own("n1", [{**ROLES[0], "state": "dead"}], watcher=False)
    assert "redis dead" in view(seen(), own=own).words()
    assert "2 roles run" in views(fleet_of("n1", "n2"), [seen("n2")], {}, own)[1].words()


def test_a_node_that_never_spoke_is_listed_with_what_nodes_json_says():
    fleet = fleet_of("n1", "n2")
    first, second = views(fleet, [seen()], {}, NOBODY)
    assert (second.name, second.state, second.slots, second.live) == ("n2", NEVER_SEEN, 4, 0)
    assert second.labels == ("gpu",)
    assert second.row()[1:4] == ("never seen", "0 of 4", "")
    cordoned = NodeSeen("n2", {"cordoned": "1", "cordon_why": "new disk"}, 0, 1e9)
    told = views(fleet, [seen(), cordoned], {}, NOBODY)[1]
    assert (told.state, told.slots, told.words()) == (NEVER_SEEN, 4, "cordoned: new disk")
    assert first.name == "n1"


def test_a_cordon_is_told_with_its_reason_and_never_obeyed_by_a_terminal():
    found = view(seen(cordoned="1", cordon_why="hot\x1b[2J", cordoned_by="mark"))
    assert (found.cordoned, found.cordon_why, found.cordoned_by) == (True, "hot\x1b[2J", "mark")
    assert found.words().startswith(r"cordoned by mark: hot\x1b[2J; ")


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({}, ""),
        ({"cordoned": "1", "cordon_why": "5 processes"}, "cordoned: 5 processes"),
        ({"cordoned": "1", "survivors_why": "2 left"}, "cordoned by the system: 2 left"),
        (
            {"cordoned": "1", "cordoned_by": "me@x", "cordon_why": "", "survivors_why": "2 left"},
            "cordoned by me@x: nobody said why; cordoned by the system: 2 left",
        ),
        (
            {"cordoned": "1", "drain": "draining", "drain_by": "me@x", "cordoned_by": "me@x", "cordon_why": "disk"},
            "draining by me@x: disk",
        ),
        ({"cordoned": "1", "drain": "drained", "drain_by": "me@x"}, "drained by me@x"),
    ],
)
def test_a_cordon_of_a_person_one_of_the_system_and_a_drain_are_told_apart(fields, words):
    found = view(seen(**fields))
    assert found.words() == f"{words}; 2 roles run".removeprefix("; ")
    json.dumps(found.as_json())


@pytest.mark.parametrize("info", [{}, {"load": 1.0}, {"load": 1.0, "cpus": None, "disk_free_bytes": None}])
def test_what_a_node_of_another_version_does_not_say_is_not_known(info):
    found = view(seen(info=info))
    assert (found.load_per_core, found.disk_free_bytes, found.roles) == (None, None, None)
    assert found.row()[3:6] == ("", "", "")


def test_a_node_that_is_not_in_nodes_json_any_more_is_told_as_such():
    assert "not in nodes.json" in views(fleet_of("n1"), [seen("old")], {}, NOBODY)[1].words()
