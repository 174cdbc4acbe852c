"""Schedules on a whole node: beat fires them, also after it was killed; and what people do to them."""

from __future__ import annotations

import json
from datetime import datetime
from typing import TYPE_CHECKING, Any

import pytest
from waiting import eventually

from infra_tasks.model.timetable import iso

if TYPE_CHECKING:
    from whole_node import WholeNode

pytestmark = pytest.mark.fleet


@pytest.fixture(scope="module")
def node(own_node: WholeNode) -> WholeNode:
    """A node whose nodes.json has a schedule that is due every second, and one for the nights of Berlin."""
    raw = json.loads((own_node.home / "nodes.json").read_text())
    raw["schedules"] = {
        "often": {"every_s": 1, "spec": {"command": ["true"]}, "missed": "all", "overlap": "allow"},
        "nightly": {"cron": "30 2 * * *", "timezone": "Europe/Berlin", "spec": {"command": "make all"}},
    }
    own_node.put_fleet(raw)
    return own_node


def told(node: WholeNode, *words: str) -> Any:
    done = node.infra("schedule", *words, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def listed(node: WholeNode, name: str) -> dict[str, Any]:
    return next(each for each in told(node, "list") if each["name"] == name)


def refused(node: WholeNode, *words: str) -> str:
    done = node.infra("schedule", *words)
    assert (done.returncode, done.stdout) == (2, ""), done
    return done.stderr


def runs_of(node: WholeNode, name: str) -> list[Any]:
    return [run for run in node.ledger().runs.recent(2000) if run.schedule == name]


def test_beat_fires_every_slot_once_also_after_it_was_killed(node):
    eventually(lambda: len(runs_of(node, "often")) >= 2, 60, "beat takes the change up and fires")
    seen = len(runs_of(node, "often"))
    node.kill("beat")
    # The lease of a dead beat ends by itself, after half a minute.
    node.ledger().scripts.client.delete("redbeat:infra::lock")
    eventually(lambda: len(runs_of(node, "often")) > seen + 2, 90, "a new beat fires")
    told(node, "pause", "often", "--why", "enough")
    slots = sorted(run.slot for run in runs_of(node, "often"))
    first, last = (datetime.fromisoformat(slot).timestamp() for slot in (slots[0], slots[-1]))
    assert slots == [iso(slot) for slot in range(int(first), int(last) + 1)]
    assert listed(node, "often")["left_out"] == 0


def test_a_run_of_a_schedule_succeeds_and_says_where_it_comes_from(node):
    run = eventually(lambda: next((one for one in runs_of(node, "often") if one.final), None), 60)
    assert run.state == "SUCCESS"
    shown = node.infra("show", run.id)
    assert f"often, slot {run.slot}" in shown.stdout
    said = json.loads(node.infra("show", run.id, "--json").stdout)
    assert (said["schedule"], said["slot"], said["name"]) == ("often", run.slot, "often")


def test_the_list_tells_when_next_what_became_of_the_last_run_and_who_paused(node):
    text = node.infra("schedule", "list").stdout
    assert "every 1.0s" in text
    assert "30 2 * * * Europe/Berlin" in text
    assert "often was paused by " in text
    assert "enough" in text
    often, nightly = listed(node, "often"), listed(node, "nightly")
    assert often["last_run"]["id"] in {run.id for run in runs_of(node, "often")}
    assert (often["from"], often["next"], nightly["paused"]) == ("nodes.json", [], None)
    assert nightly["next"][0]["shown"].split()[1] in {"02:30:00", "03:00:00"}


def test_a_schedule_is_added_run_by_hand_paused_resumed_and_removed(node):
    added = node.infra(
        "schedule", "add", "report", "--cron", "@weekly", "--name", "the report", "--", "echo", "--hello"
    )
    assert added.stdout.startswith("report is added, due next at "), added.stderr
    run_id = told(node, "run-now", "report")["id"]
    done = node.infra("wait", run_id)
    assert done.returncode == 0, done.stderr
    run = node.ledger().runs.get(run_id)
    assert (run.spec.command, run.name, run.schedule, run.slot) == (["echo", "--hello"], "the report", "report", "")
    assert "report, by hand" in node.infra("show", run_id).stdout
    told(node, "pause", "report")
    assert listed(node, "report")["paused"]["by"]
    told(node, "resume", "report")
    assert listed(node, "report")["paused"] is None
    assert told(node, "remove", "report")["removed"]
    assert all(each["name"] != "report" for each in told(node, "list"))


def test_a_spec_of_a_file_can_be_scheduled(node, tmp_path):
    (tmp_path / "one.yaml").write_text("command: make all\nlabels: [gpu]\n")
    made = told(node, "add", "filed", "--every", "15m", "--spec", str(tmp_path / "one.yaml"))
    assert (made["every_s"], made["spec"]) == (900, {"command": "make all", "labels": ["gpu"]})
    told(node, "remove", "filed")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("pause", "nightli"), "no schedule 'nightli'; did you mean 'nightly'? (known: nightly, often)"),
        (("remove", "nightly"), "schedule 'nightly' is written in "),
        (("add", "nightly", "--cron", "@daily", "--", "true"), "schedule 'nightly' is written in "),
        (("add", "x", "--every", "5m", "--node", "n2", "--", "true"), "node: 'n2' is not in nodes.json"),
        (("add", "x", "--every", "5m"), "say what to run: -- COMMAND..., or --spec FILE"),
        (("add", "x", "--every", "5m", "--spec", "f", "--node", "n1"), "found an option about it (node), too"),
        (("add", "x", "--every", "1.5s", "--", "true"), "--every: found 1.5 seconds; allowed: whole seconds"),
        (("add", "X", "--every", "5m", "--", "true"), "'X' cannot be the name of a schedule; allowed: small letters"),
    ],
)
def test_wrong_use_is_told_with_what_was_found_and_the_nearest_word(node, words, said):
    assert said in refused(node, *words)
