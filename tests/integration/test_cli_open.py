"""`infra open` where there is no window: it says so, and what to do."""

from __future__ import annotations

import json

import pytest
from cli_process import infra

from infra_tasks.model.fleet import new_fleet


def test_a_folder_without_a_fleet_is_told_to_make_one(tmp_path):
    done = infra(tmp_path, "open")
    assert (done.code, done.out) == (3, "")
    assert "infra init" in done.err


@pytest.mark.parametrize("how", [(), ("--print",), ("--print", "--password")])
def test_a_node_that_is_not_up_is_told_to_start(tmp_path, how):
    (tmp_path / "nodes.json").write_text(json.dumps(new_fleet("f", "n1", root=str(tmp_path))))
    done = infra(tmp_path, "open", *how)
    assert (done.code, done.out) == (3, "")
    assert str(tmp_path) in done.err
    assert "infra up --detach" in done.err
    assert not (tmp_path / "flower").exists(), "nothing was made for nobody"
