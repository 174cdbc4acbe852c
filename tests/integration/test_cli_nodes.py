"""`infra node cordon|drain|uncordon` and `infra abandon`, as processes, against a real Redis."""

from __future__ import annotations

import getpass
import json
import re
import socket

import pytest
from cli_process import Terminal
from run_fleet import started
from waiting import eventually

from infra_tasks.sweep import sweep

ME = f"{getpass.getuser()}@{socket.gethostname()}"


def speaks(fleet, uuid="u1"):
    fleet.ledger.claims.renew(patience_s=1, node="n1", uuid=uuid, boot_id="b", slots=2, labels="[]", version="0",
                              info="{}", live=[])  # fmt: skip


def falls_silent(fleet):
    """It spoke, and that was 40 seconds ago."""
    speaks(fleet)
    node, clock = fleet.ledger.scripts.key("node", "n1"), fleet.ledger.scripts.key("clock")
    redis = fleet.ledger.scripts.client
    redis.hset(node, "seen_at", f"{float(redis.hget(node, 'seen_at')) - 40:.6f}")
    redis.hset(clock, "now", f"{float(redis.hget(clock, 'now')) + 40:.6f}")


def test_a_cordon_is_told_everywhere_with_who_and_why_and_is_lifted(fleet):
    speaks(fleet)
    done = fleet.infra("node", "cordon", "n1", "--why", "new \x1b[2Jdisk")
    assert (done.code, done.out) == (
        0, "n1 is cordoned: nothing new is placed on it; nothing runs there\n",
    )  # fmt: skip
    words = rf"cordoned by {ME}: new \x1b[2Jdisk"
    for line in ("nodes", "status"):
        shown = fleet.infra(line).out
        assert words in shown, shown
        assert "\x1b[2J" not in shown
    (node,) = fleet.json("top")["nodes"]
    assert (node["cordoned_by"], node["cordon_why"]) == (ME, "new \x1b[2Jdisk")
    assert words in fleet.infra("node", "uncordon", "n1").out
    assert fleet.infra("node", "uncordon", "n1").out == "n1 was not cordoned: it takes runs\n"
    assert fleet.json("node", "uncordon", "n1")["lifted"] is None


@pytest.mark.parametrize("verb", ["cordon", "drain", "uncordon"])
def test_an_unknown_node_is_told_with_the_nearest_one(fleet, verb):
    done = fleet.infra("node", verb, "n11")
    assert (done.code, "did you mean 'n1'?" in done.err) == (2, True)
    assert not fleet.ledger.nodes.is_cordoned("n11")


def test_a_drain_says_what_it_waits_for_goes_on_behind_ctrl_c_and_ends_when_the_node_is_empty(fleet):
    speaks(fleet)
    taken, waits = fleet.takes(fleet.accepts(name="long one", node="n1")), fleet.accepts(node="n1")
    with Terminal(fleet.home.root, "node", "drain", "n1", "--deadline", "30m", columns=160) as terminal:
        terminal.shows(f"n1 · 1 to end: {taken.id[:8]} (long one)")
        terminal.shows("of 2h")
        terminal.shows(" · stopped in 29m")
        terminal.types("\x03")
        assert terminal.ends() == 130
        assert "the drain goes on" in terminal.seen
    assert f"draining by {ME}, at " in fleet.infra("nodes").out
    with started(fleet, "node", "drain", "n1", "--json") as process:
        taken.ends(exit_code=0)
        eventually(lambda: sweep(fleet.ledger, "n1") or process.poll() is not None, said="it is drained")
        said = json.loads(process.communicate(timeout=180)[0])
    assert (process.returncode, said) == (0, {"node": "n1", "drained": True, "waiting": [waits]})
    assert fleet.ledger.runs.peek(waits)[0] == "QUEUED"
    assert fleet.json("node", "uncordon", "n1")["lifted"]["drain"] == "drained"


def test_a_run_of_a_silent_node_is_unreachable_since_and_given_up_by_hand_alone(fleet):
    speaks(fleet)
    taken = fleet.takes(fleet.accepts(node="n1"))
    done = fleet.infra("abandon", taken.id, "--yes")
    assert (done.code, "which spoke" in done.err, f"infra cancel {taken.id}" in done.err) == (2, True, True)
    falls_silent(fleet)
    assert re.search(r"n1 \(silent \d", fleet.infra("runs").out)
    said = fleet.json("show", taken.id)
    assert said["state"] == "UNREACHABLE"
    assert said["unreachable_since"] == float(fleet.ledger.nodes.one("n1").fields["seen_at"])
    assert "since" in fleet.infra("show", taken.id).out
    assert f"`infra abandon {taken.id[:8]}`" in fleet.infra("why", taken.id).out
    assert "say --yes" in fleet.infra("abandon", taken.id).err
    with Terminal(fleet.home.root, "abandon", taken.id) as terminal:
        terminal.shows("Give up run")
        terminal.types("n\r")
        assert terminal.ends() == 1
    assert fleet.ledger.runs.peek(taken.id)[0] == "STARTED"
    assert fleet.json("abandon", taken.id, "--yes") == {"id": taken.id, "state": "FAILURE", "abandoned": True}
    assert f"given up by {ME}" in fleet.infra("show", taken.id).out
    assert fleet.infra("abandon", taken.id, "--yes").out == f"run {taken.id[:8]} is FAILURE already\n"
