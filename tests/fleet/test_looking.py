"""Commands that look at a whole node: what its heartbeat tells, and what is never told of what is gone."""

from __future__ import annotations

import json

import pytest
from waiting import eventually
from window import Window

pytestmark = pytest.mark.fleet


def nodes(node):
    done = node.infra("nodes", "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)[0]


def heard(book):
    """What the agent says of itself, whoever is asked."""
    return book.nodes.all()[0].info


def states(said):
    return {role["name"]: role["state"] for role in said["roles"]}


def test_the_heartbeat_tells_load_room_and_roles(own_node, own_book):
    eventually(lambda: set(states(heard(own_book)).values()) == {"running"}, 60, "all roles run")
    info = heard(own_book)
    assert info["cpus"] >= 1
    assert info["load"] >= 0
    assert info["disk_free_bytes"] > 0
    assert info["memory_free_bytes"] > 0
    assert info["watcher"] is True
    said = nodes(own_node)
    assert (said["name"], said["state"], said["slots"], said["live"], said["labels"]) == ("n1", "up", 2, 0, ["gpu"])
    assert said["load_per_core"] == pytest.approx(said["load"] / said["cpus"], abs=0.01)
    assert list(states(said)) == list(own_node.roles)


def test_a_run_is_seen_cancelled_and_read_in_top(own_node):
    with Window(own_node.home, "top") as top:
        top.comes_to("6 roles run")
        done = own_node.infra("run", "--detach", "--name", "loud", "--", "sh", "-c", "echo begun; exec sleep 600")
        run_id = done.stdout.strip()
        top.comes_to(lambda text: "loud:" in text and "STARTED" in text and "1 of 2" in text)
        top.types("l")  # what it was told to do stands in the list, too
        top.comes_to(lambda text: "begun" in text and "loud:" not in text)
        top.types("\x1b")
        top.comes_to("loud:")
        top.types("c")
        top.comes_to("? y/n")
        top.types("y")
        assert own_node.infra("wait", run_id).returncode == 130
        top.comes_to(lambda text: "loud:" not in text)
        top.types("q")
        assert top.is_restored_after(0)


def test_a_role_that_is_gone_is_never_told_as_running_though_its_watcher_is_dead(own_node, own_book):
    own_node.kill("watcher", "beat")
    eventually(lambda: own_node.role_pid("beat") is None, said="it is gone")
    said = nodes(own_node)
    assert (states(said)["beat"], states(said)["worker"], said["watcher"]) == ("dead", "running", False)
    assert "beat dead; its watcher is dead" in own_node.infra("nodes").stdout
    eventually(lambda: states(heard(own_book))["beat"] == "dead", said="others are told as well")
    assert heard(own_book)["watcher"] is False
