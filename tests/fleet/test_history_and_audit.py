"""A whole node: its audit is clean, old runs leave for the archive, and what is broken by hand is found and mended."""

from __future__ import annotations

import json

import pytest
from waiting import eventually

pytestmark = pytest.mark.fleet

SPECS = [{"command": ["sh", "-c", f"echo {n}; exit {n % 10 == 0}"], "name": f"number-{n}"} for n in range(50)]


def audit(node, *options):
    done = node.infra("audit", "--json", *options)
    return done.returncode, json.loads(done.stdout)


def test_a_living_node_is_clean_and_old_runs_move_to_its_archive(own_node, own_book, tmp_path):
    specs = tmp_path / "specs.json"
    specs.write_text(json.dumps(SPECS))
    done = own_node.infra("submit", str(specs), "--wait")
    assert done.returncode == 1, done.stderr
    code, said = audit(own_node)
    assert (code, said["findings"]) == (0, [])
    assert (said["sums"]["submitted"], said["sums"]["final"], said["looked_at"]) == (50, 50, 50)
    own_node.write_fleet(labels=["gpu"], limits={"history_days": 1e-6})
    eventually(lambda: not own_book.runs.recent(1), 90, "all have left the history")
    listed = json.loads(own_node.infra("runs", "--archived", "--json", "--limit", "100").stdout)
    assert {one["name"] for one in listed} == {spec["name"] for spec in SPECS}
    code, said = audit(own_node)
    assert (code, said["findings"]) == (0, [])
    assert (said["sums"]["submitted"], said["sums"]["archived"]) == (50, 50)
    shown = json.loads(own_node.infra("show", listed[0]["id"], "--json").stdout)
    assert shown["stdout_tail"] == shown["name"].removeprefix("number-") + "\n"


def test_a_run_that_nothing_would_move_on_is_found_and_runs_once_it_was_mended(own_node, own_book):
    own_node.write_fleet(labels=["gpu"])
    redis = own_book.scripts.client
    blockers = [own_node.infra("run", "--detach", "--", "sleep", "600").stdout.strip() for _ in range(2)]
    eventually(lambda: own_book.runs.states(blockers) == ["STARTED"] * 2, 60)
    run = own_node.infra("run", "--detach", "--", "echo", "mended").stdout.strip()
    redis.zrem(own_book.scripts.key("waiting", "node.n1"), run)
    code, said = audit(own_node, "--repair")
    assert (code, [(one["check"], one["run"]) for one in said["findings"]]) == (1, [("place", run)])
    assert said["findings"][0]["repaired"] == "put into its queue, with a hint"
    assert said["findings"][0]["story"][0]["cause"] == "submitted"
    own_node.infra("cancel", "--kill", *blockers)
    assert own_node.infra("wait", run).returncode == 0
    eventually(lambda: audit(own_node)[0] == 0, 60, "all is right again")
