"""Why a run is where it is: a sentence for each case."""

from __future__ import annotations

import json
import time

import pytest

from infra_tasks.cli.nodes_view import NEVER_SEEN, UNREACHABLE, UP, NodeView
from infra_tasks.cli.why import Scene, as_json, sentence, why
from infra_tasks.ledger.lines import Line
from infra_tasks.ledger.records import Event, Run
from infra_tasks.model.spec import RunSpec

NOW = 100_000.0
RUNNING = [{"name": name, "state": "running"} for name in ("worker", "control", "agent")]


def node(name="n1", **more):
    return NodeView(**{"name": name, "state": UP, "slots": 2, "silent_s": 0.5, "roles": RUNNING, **more})


SILENT = node(state=UNREACHABLE, silent_s=300)


def without(role):
    return [one if one["name"] != role else {**one, "state": "dead"} for one in RUNNING]


def run(state, *, spec=None, **fields):
    asked = {"command": ["true"], **(spec or {})}
    said = {name: str(asked[name]) for name in ("node", "project", "name") if name in asked}
    always = {"timeout_s": "7200", "submitted_at": str(NOW - 60)}
    return Run("r1", {"state": state, "spec": RunSpec.of(asked).to_json(), **always, **said, **fields})


def told(one, *nodes, moves=(), holders=None, safe_mode=None, line=None, running=()):
    """Return what is said of a run whose last move was 12 s ago, and the kinds of the reasons."""
    events = moves or [("QUEUED", "submitted")]
    story, before = [], ""
    for state, cause in events:
        story.append(Event(NOW - 12, before, state, "ann", cause, None))
        before = state
    scene = Scene(
        one, story, NOW, {each.name: each for each in nodes or [node()]}, holders or {}, safe_mode, line, running
    )
    reasons = why(scene)
    json.dumps(as_json(scene, reasons))
    said = sentence(one, reasons)
    assert "\n" not in said
    return said.removeprefix("run r1 "), [reason.kind for reason in reasons]


CASES = {
    "a place of its name": (
        run("QUEUED", spec={"name": "nightly", "max_running": 2}),
        [node()],
        {"line": Line("name", "nightly", 3, ("r7", "r8"), 2), "running": ["left", "right"]},
        "(nightly) waits: of those named nightly 2 may run at once (max_running): left and right, and 3 wait before it",
        ["max_running"],
    ),
    "the limit of others of its name": (
        run("QUEUED", spec={"name": "nightly"}),
        [node()],
        {"line": Line("name", "nightly", 1)},
        ("(nightly) waits: some of those named nightly came first and limit how many may run (max_running), "
        "and 1 wait before it"),
        ["max_running"],
    ),
    "a place of its project, on a full node": (
        run("QUEUED", spec={"project": "p"}),
        [node(live=2)],
        {"line": Line("project", "p", 0, ("r7",), 1), "running": ["left"]},
        ("waits: of project p 1 may run at once (max_running): left; "
        "has waited 12s for a slot: both slots of n1 are taken"),
        ["max_running", "slots_full"],
    ),
    "the turn of its project": (
        run("QUEUED"),
        [node(live=2)],
        {"line": Line("lane", "", 40)},
        ("has waited 12s for a slot: both slots of n1 are taken; "
        "waits for the turn of runs without a project: 41 of them stand in line up to this one"),
        ["slots_full", "turn"],
    ),
    "a node that is too old for its spec": (
        run("QUEUED", declined=json.dumps({"n1": {"version": "1", "till": "5"}, "n2": {"version": "1", "till": "5"}})),
        [node(version="1"), node("n2", version="2", live=2)],
        {},
        ("has waited 12s for a slot: n1 gave it back, infra 1 there does not know all of its spec: upgrade that node; "
        "both slots of n2 are taken"),
        ["too_old", "slots_full"],
    ),
    "slots": (
        run("QUEUED"),
        [node(live=2)],
        {"holders": {"n1": ["left", "right"]}},
        "has waited 12s for a slot: both slots of n1 are taken, by left and right",
        ["slots_full"],
    ),
    "many holders": (
        run("QUEUED"),
        [node(live=5, slots=5)],
        {"holders": {"n1": list("abcde")}},
        "has waited 12s for a slot: all 5 slots of n1 are taken, by a, b, c and 2 more",
        ["slots_full"],
    ),
    "several nodes": (
        run("QUEUED"),
        [
            node(live=1, slots=1),
            node("n2", state=UNREACHABLE, silent_s=300),
            node("n3", cordoned=True, cordon_why="disk full"),
        ],
        {"holders": {"n1": ["left"]}},
        ("has waited 12s for a slot: the slot of n1 is taken, by left; n2 has been silent for 5m; "
        "n3 is cordoned: disk full"),
        ["slots_full", "node_silent", "cordoned"],
    ),
    "a large fleet": (
        run("QUEUED"),
        [*[node(f"n{at}", live=2) for at in range(12)], node("m", cordoned=True)],
        {},
        "has waited 12s for a slot: of 13 nodes that may take it 12 full, 1 cordoned",
        ["slots_full"],
    ),
    "its node is silent": (
        run("QUEUED", spec={"node": "n1"}),
        [SILENT, node("n2")],
        {},
        "has waited 12s for a slot: n1 has been silent for 5m",
        ["node_silent"],
    ),
    "its node never spoke": (
        run("QUEUED", spec={"node": "n1"}),
        [node(state=NEVER_SEEN, silent_s=None)],
        {},
        "has waited 12s for a slot: n1 has never spoken (`infra up` there starts it)",
        ["never_seen"],
    ),
    "its node is unknown": (
        run("QUEUED", spec={"node": "mac-3"}),
        [node("mac-2")],
        {},
        "waits for node mac-3, which nobody knows; did you mean 'mac-2'?",
        ["unknown_node"],
    ),
    "its node is cordoned": (
        run("QUEUED", spec={"node": "n1"}),
        [node(cordoned=True, cordon_why="3 processes\x1b[31m could not be killed")],
        {},
        r"has waited 12s for a slot: n1 is cordoned: 3 processes\x1b[31m could not be killed",
        ["cordoned"],
    ),
    "its node is drained": (
        run("QUEUED", spec={"node": "n1"}),
        [node(cordoned=True, cordoned_by="me@x", cordon_why="disk", drain="draining", drain_by="me@x")],
        {},
        "has waited 12s for a slot: n1 is draining by me@x: disk",
        ["draining"],
    ),
    "no node has the labels": (
        run("QUEUED", spec={"labels": ["gpu", "a100"]}),
        [node(labels=("gpu",)), node("n2")],
        {},
        "waits for a node with the labels a100, gpu: none has all of them; nearest is n1, which lacks a100",
        ["no_node_has_labels"],
    ),
    "a label that was mistyped": (
        run("QUEUED", spec={"labels": ["gpus"]}),
        [node(labels=("gpu",))],
        {},
        "waits for a node with the label gpus: none has; did you mean 'gpu'?",
        ["no_node_has_labels"],
    ),
    "its node lacks a label": (
        run("QUEUED", spec={"node": "n1", "labels": ["gpu"]}),
        [node()],
        {},
        "has waited 12s for a slot: n1 lacks the label gpu",
        ["labels"],
    ),
    "the worker is dead": (
        run("QUEUED"),
        [node(roles=without("worker"))],
        {},
        "has waited 12s for a slot: the worker role of n1 is dead",
        ["worker_dead"],
    ),
    "a free slot": (
        run("QUEUED"),
        [node(live=1)],
        {},
        "has waited 12s, though n1 has a free slot: its hint is pushed again every few seconds",
        ["free_slot"],
    ),
    "after a lost attempt": (
        run("QUEUED", attempt="1"),
        [node(live=2)],
        {"moves": [("STARTED", ""), ("QUEUED", "n1 stopped renewing its lease")]},
        ("has waited 12s for a slot: both slots of n1 are taken; "
        "attempt 1 came to nothing: n1 stopped renewing its lease"),
        ["slots_full", "attempt_lost"],
    ),
    "it expires": (
        run("QUEUED", spec={"expires_s": 90}),
        [node(live=2)],
        {},
        "has waited 12s for a slot: both slots of n1 are taken; it expires in 30s",
        ["slots_full", "expires"],
    ),
    "safe mode": (
        run("QUEUED"),
        [node()],
        {"safe_mode": ["n1", "n2"]},
        "waits: Redis came back with other data, and nothing is placed until n1 and n2 said what runs there",
        ["safe_mode"],
    ),
    "safe mode of nobody in particular": (
        run("PENDING"),
        [node()],
        {"safe_mode": ["*"]},
        "waits: Redis came back with other data, and nothing is placed until a node said what runs there",
        ["safe_mode"],
    ),
    "its moment": (
        run("PENDING", not_before=str(NOW + 300)),
        [node()],
        {"moves": [("PENDING", "submitted")]},
        "waits for its moment, 1970-01-02 03:51:40 (in 5m)",
        ["not_before"],
    ),
    "its moment has come": (
        run("PENDING", not_before=str(NOW - 1)),
        [node()],
        {"moves": [("PENDING", "submitted")]},
        "is about to go on: its moment has come",
        ["moment_has_come"],
    ),
    "nobody moves it on": (
        run("PENDING", not_before=str(NOW - 1)),
        [SILENT],
        {"moves": [("PENDING", "submitted")]},
        "waits: its moment has come, but no node speaks that could move it on",
        ["nobody_speaks"],
    ),
    "its code is to be brought": (
        run("PENDING", spec={"project": "hello"}, dispatch_queue="dispatch.n1"),
        [node()],
        {"moves": [("PENDING", "submitted")]},
        "waits for n1 to bring the code of hello, for 12s so far",
        ["to_dispatch"],
    ),
    "the control role is dead": (
        run("PENDING", spec={"project": "hello"}, dispatch_queue="dispatch.n1"),
        [node(roles=without("control"))],
        {"moves": [("PENDING", "submitted")]},
        "waits for the code of hello, which is on n1: the control role of n1 is dead",
        ["control_dead"],
    ),
    "the source is on a silent node": (
        run("PENDING", spec={"project": "hello"}, dispatch_queue="dispatch.n1"),
        [SILENT],
        {"moves": [("PENDING", "submitted")]},
        "waits for the code of hello, which is on n1: n1 has been silent for 5m",
        ["node_silent"],
    ),
    "its code could not be brought": (
        run("PENDING", spec={"project": "hello"}, dispatch_queue="dispatch.n1", not_before=str(NOW + 20)),
        [node()],
        {"moves": [("PENDING", ""), ("SYNCING", "dispatched on n1"), ("PENDING", "n2 refused the connection")]},
        "waits 20s to have its code brought again: n2 refused the connection",
        ["bringing_again"],
    ),
    "its code is being brought": (
        run("SYNCING", dispatch="d1"),
        [node()],
        {"moves": [("PENDING", "submitted"), ("SYNCING", "dispatched on n1")]},
        "has its code brought by n1, for 12s so far",
        ["bringing"],
    ),
    "who brings its code is silent": (
        run("SYNCING", dispatch="d1"),
        [node(state=UNREACHABLE, silent_s=40)],
        {"moves": [("PENDING", "submitted"), ("SYNCING", "dispatched on n1")]},
        "had its code brought by n1, which has been silent for 40s: when its word has lapsed, another try follows",
        ["node_silent"],
    ),
    "its code is made ready": (
        run("SYNCING", claim_node="n1"),
        [node()],
        {"moves": [("QUEUED", ""), ("SYNCING", "claimed by n1")]},
        "was taken by n1, which makes its code ready, for 12s so far",
        ["making_ready"],
    ),
    "its next attempt": (
        run("RETRY", attempt="1", not_before=str(NOW + 20)),
        [node()],
        {"moves": [("STARTED", ""), ("RETRY", "exit code 3")]},
        "waits for its next attempt, in 20s: attempt 1 ended with exit code 3",
        ["retry"],
    ),
    "it runs": (
        run("STARTED", claim_node="n1", attempt="2"),
        [node()],
        {"moves": [("QUEUED", ""), ("STARTED", "claimed by n1")]},
        "runs on n1 (attempt 2), for 12s of 2h at most",
        ["running"],
    ),
    "it is being stopped": (
        run("STARTED", claim_node="n1", cancel="asked"),
        [node()],
        {"moves": [("STARTED", "claimed by n1"), ("STARTED", "cancel asked")]},
        "is being stopped on n1 by ann",
        ["stopping"],
    ),
    "pinned, and its node fell silent": (
        run("STARTED", spec={"node": "n1"}, claim_node="n1"),
        [SILENT],
        {},
        (
            "was running on n1, which has been silent for 5m: only that node can say what became of it, and is waited "
            "for (`infra abandon r1` gives the run up)"
        ),
        ["node_silent"],
    ),
    "any node's, and its node fell silent": (
        run("STARTED", claim_node="n1"),
        [SILENT],
        {},
        "was running on n1, which has been silent for 5m: when its lease has ended, another node takes it",
        ["node_silent"],
    ),
    "lost attempts are not run again": (
        run("STARTED", claim_node="n1", rerun_lost="0"),
        [SILENT],
        {},
        "was running on n1, which has been silent for 5m: when its lease has ended, the run has failed (node_lost)",
        ["node_silent"],
    ),
    "its code was made ready where nobody speaks": (
        run("SYNCING", claim_node="n1"),
        [SILENT],
        {},
        "had its code made ready by n1, which has been silent for 5m: when its lease has ended, another node takes it",
        ["node_silent"],
    ),
    "it succeeded": (
        run("SUCCESS", claim_node="n1", attempt="3", ended_at=str(NOW - 300), result='{"duration_s": 62.0}'),
        [node()],
        {},
        "succeeded on n1 in attempt 3 after 1m2s, 5m ago",
        ["succeeded"],
    ),
    "it failed": (
        run("FAILURE", claim_node="n1", reason="exit_code", ended_at=str(NOW - 300), result='{"exit_code": 3}'),
        [node()],
        {},
        "failed on n1, 5m ago: exit code 3",
        ["exit_code"],
    ),
    "it reached its limit": (
        run("FAILURE", claim_node="n1", reason="timeout", cause="timeout", ended_at=str(NOW - 300), result="{}"),
        [node()],
        {},
        "failed on n1, 5m ago: it reached its limit of 2h",
        ["timeout"],
    ),
    "it expired": (
        run("FAILURE", reason="expired", cause="nobody could take it in time", ended_at=str(NOW - 300), result="{}"),
        [node()],
        {},
        "failed before it started, 5m ago: expired: nobody could take it in time",
        ["expired"],
    ),
    "it was cancelled": (
        run("REVOKED", ended_at=str(NOW - 300), result="{}"),
        [node()],
        {"moves": [("QUEUED", "submitted"), ("REVOKED", "cancelled")]},
        "was cancelled by ann before it started, 5m ago",
        ["cancelled"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_every_case_has_its_sentence(case, monkeypatch):
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    one, nodes, around, said, kinds = CASES[case]
    found, found_kinds = told(one, *nodes, **around)
    assert found_kinds == kinds
    assert found == said


def test_a_run_that_has_just_come_is_about_to_be_taken():
    scene = Scene(run("QUEUED"), [Event(NOW - 1, "", "QUEUED", "ann", "submitted", None)], NOW, {"n1": node()}, {})
    assert why(scene)[0].said == "is about to be taken: n1 has a free slot"


def test_a_run_is_called_by_its_name_too():
    one = run("STARTED", spec={"name": "nightly"}, claim_node="n1")
    assert sentence(one, why(Scene(one, [], NOW, {"n1": node()}, {}))).startswith("run r1 (nightly) runs on n1")


def test_a_fleet_without_nodes_has_none():
    assert why(Scene(run("QUEUED"), [], NOW, {}, {}))[0].kind == "no_node"
