"""nodes.json as the watcher takes it up: read by a small process, kept when it breaks, renewed where it changed."""

from __future__ import annotations

import json
import logging
import os
import time
from typing import TYPE_CHECKING

import pytest

from infra_tasks.errors import BadFleet
from infra_tasks.settings import Home
from workers.plan_source import PlanSource
from workers.roles import RolePlan
from workers.watcher import Watcher

if TYPE_CHECKING:
    from pathlib import Path

ROLES = ["redis", "agent", "worker", "control", "beat", "flower"]


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


def write(home: Home, slots: int = 2, **more: object) -> None:
    nodes = {"mac-1": {"ssh": "local", "root": str(home.root), "slots": slots}}
    text = json.dumps({"fleet": "home", "broker": "embedded", "nodes": nodes, **more})
    home.nodes_json.write_text(text)


def renewed(before: tuple[RolePlan, ...], after: tuple[RolePlan, ...]) -> list[str]:
    stamps = {plan.name: plan.stamp("1", 1) for plan in before}
    return [plan.name for plan in after if stamps.get(plan.name) != plan.stamp("1", 1)]


def test_a_node_with_its_own_redis_has_all_roles_in_order_and_knows_its_name(home: Home):
    write(home)
    plans = PlanSource(home)()
    assert [plan.name for plan in plans] == ROLES
    assert dict(plans[2].env)["INFRA_NODE"] == "mac-1"


def test_a_redis_somewhere_else_is_no_role_and_its_password_is_in_no_plan(home: Home):
    write(home, broker="redis://:geheim@10.0.0.1:6379/0")
    plans = PlanSource(home)()
    assert [plan.name for plan in plans] == ROLES[1:]
    assert "geheim" not in repr(plans)


def test_a_change_renews_the_roles_that_read_it_and_no_others(home: Home):
    write(home)
    source = PlanSource(home)
    before = source()
    write(home, projects={"hello": {"source": "/code/hello", "node": "mac-1"}})
    with_project = source()
    assert renewed(before, with_project) == ["control"]
    write(home, slots=4, projects={"hello": {"source": "/code/hello", "node": "mac-1"}})
    assert "worker" in renewed(with_project, source())
    assert "redis" not in renewed(with_project, source())


def test_an_unchanged_file_is_not_read_again(home: Home):
    write(home)
    source = PlanSource(home)
    plans = source()
    assert source() is plans


def test_a_file_that_breaks_keeps_the_plans_and_is_complained_about_once(home: Home, caplog: pytest.LogCaptureFixture):
    write(home)
    source = PlanSource(home)
    before = source()
    home.nodes_json.write_text('{"fleet": "home", "nodes": {"mac-1": {"ssh": "local", "rooot": "/x"}}}')
    with caplog.at_level(logging.ERROR, "watcher"):
        assert source() == before
        assert source() == before
    (complaint,) = caplog.records
    assert "rooot" in complaint.getMessage()
    write(home, slots=3)
    assert renewed(before, source())


def test_a_file_that_is_wrong_from_the_start_is_refused(home: Home):
    with pytest.raises(BadFleet, match=r"nodes\.json cannot be read: No such file.*infra init"):
        PlanSource(home)()
    home.nodes_json.write_text("{")
    with pytest.raises(BadFleet, match=r"nodes\.json"):
        PlanSource(home)()


def test_a_folder_that_is_no_node_of_the_fleet_is_refused_unless_it_says_which_it_is(home: Home):
    nodes = {"far": {"ssh": "me@far.local", "root": "/somewhere"}}
    home.nodes_json.write_text(json.dumps({"fleet": "home", "broker": "redis://far.local:6379/0", "nodes": nodes}))
    with pytest.raises(BadFleet, match=f"root {home.root}"):
        PlanSource(home)()
    home.node_json.write_text(json.dumps({"name": "far", "uuid": "1"}))
    os.utime(home.nodes_json)
    assert dict(PlanSource(home)()[0].env)["INFRA_NODE"] == "far"


def test_what_is_wrong_with_several_roles_is_told_once_of_each(home: Home, caplog: pytest.LogCaptureFixture):
    plans = tuple(RolePlan(name=name, argv=("true",)) for name in ("first", "second"))
    watcher = Watcher(home, lambda: plans)
    for role in watcher.roles:
        role.process.let_go()
        role.files.lock.unlink(missing_ok=True)
        role.files.lock.mkdir()
    with caplog.at_level(logging.ERROR, "watcher"):
        for turn in range(4):
            watcher.run_once(time.monotonic() + turn)
    watcher.close()
    assert [record.getMessage().partition(" could not")[0] for record in caplog.records] == ["first", "second"]
