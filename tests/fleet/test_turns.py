"""Whose turn it is on a whole node: a share for every project, and limits from nodes.json."""

from __future__ import annotations

import pytest
from waiting import eventually

pytestmark = pytest.mark.fleet

WAIT_FOR = 'until [ -e "$0" ]; do sleep 0.05; done'
MANY, FEW = 80, 5
FAIR = 4 * 2 * FEW + 2 * 2  # four times a fair share, and what the slots hold at the moment


def accept(*specs):
    from infra_tasks import submit_many

    return [result.id for result in submit_many(list(specs))]


@pytest.fixture(scope="module")
def write(own_node, tmp_path_factory):
    source = tmp_path_factory.mktemp("source")
    (source / "code.txt").write_text("x")

    def write(**limit):
        own_node.write_fleet(labels=["gpu"], projects={"app": {"source": str(source), **limit}})

    write()
    return write


def in_state(book, runs, *states):
    return lambda: all(run.state in states for run in book.runs.get_many(runs))


def explained(node, run):
    said = node.infra("why", run).stdout
    return said if "max_running" in said else None


def test_a_few_runs_of_one_project_have_their_share_beside_many_of_another(own_call, own_book, write, tmp_path):
    sign = tmp_path / "go"
    blockers = own_call(accept, *[{"command": ["sh", "-c", WAIT_FOR, str(sign)]}] * 2)
    eventually(in_state(own_book, blockers, "STARTED"), 60, "both slots are taken")
    many = own_call(accept, *[{"command": ["true"]}] * MANY)
    few = own_call(accept, *[{"command": ["true"], "project": "app"}] * FEW)
    eventually(in_state(own_book, few, "QUEUED"), 60, "their code is there")
    sign.touch()
    eventually(in_state(own_book, [*many, *few], "SUCCESS"), 120, "all have run")
    order = sorted(own_book.runs.get_many([*many, *few]), key=lambda run: run.at("claimed_at"))
    last = max(at for at, run in enumerate(order) if run.project == "app")
    assert last < FAIR, [run.project for run in order]


def test_a_limit_of_a_project_holds_is_explained_and_follows_nodes_json(own_node, own_call, own_book, write, tmp_path):
    sign = tmp_path / "go"
    write(max_running=1)
    eventually(lambda: own_book.scripts.client.hget(own_book.scripts.key("most_running"), "app"), 60, "it is known")
    spec = {"command": ["sh", "-c", WAIT_FOR, str(sign)], "project": "app"}
    first, second = own_call(accept, {**spec, "name": "left"}, {**spec, "name": "right"})
    states = lambda: sorted(run.state for run in own_book.runs.get_many([first, second]))  # noqa: E731
    eventually(lambda: states() == ["QUEUED", "STARTED"], 60, "one of them runs")
    waits = next(run.id for run in own_book.runs.get_many([first, second]) if run.state == "QUEUED")
    said = eventually(lambda: explained(own_node, waits), 60, "why it waits")
    assert "of project app 1 may run at once (max_running): " in said
    write(max_running=2)
    eventually(lambda: states() == ["STARTED", "STARTED"], 60, "there is a place for both")
    sign.touch()
    eventually(in_state(own_book, [first, second], "SUCCESS"), 60, "both have run")
