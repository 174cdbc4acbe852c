"""Outputs between nodes: they come over ssh to the node a run was submitted on, at once or when that is possible."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest
from caller import Caller
from three_nodes import ThreeNodes
from waiting import eventually

pytestmark = pytest.mark.fleet

ODD = ["-rf", "two\nlines", " a ", "ü", "#x", "*?[x]"]


@pytest.fixture(scope="module")
def three(tmp_path_factory):
    folder = tmp_path_factory.mktemp("three")
    (folder / "source").mkdir()
    (folder / "source" / "code.txt").write_text("code")
    made = ThreeNodes(folder)
    try:
        made.write(p=folder / "source")
        yield made.up()
    finally:
        print(made.logs())  # noqa: T201  shown when a test fails
        made.close()


@pytest.fixture(scope="module")
def call(three):
    one = Caller(three["n1"].env)
    yield one
    one.close()


def accept(spec):
    from infra_tasks import run_spec

    return run_spec.delay(spec).id


def get(run_id):
    from infra_tasks import run_spec

    return run_spec.AsyncResult(run_id).get(timeout=180)


def run(call, command, *outputs, **spec):
    return call(get, call(accept, {"command": command, "outputs": list(outputs), **spec}))


def held(folder):
    root = Path(folder)
    return {str(path.relative_to(root)): path.read_text() for path in root.rglob("*") if path.is_file()}


def test_the_files_of_a_run_elsewhere_are_here_when_it_has_ended(three, call):
    command = ["sh", "-c", 'mkdir d; for name; do echo hi > "d/$name"; done', "-", *ODD]
    outputs = run(call, command, "d/**", "gone", node="n2")["outputs"]
    assert (outputs["node"], outputs["home"], outputs["brought"], outputs["error"]) == ("n2", "n1", True, None)
    assert outputs["folder"].startswith(str(three["n1"].home / "runs"))
    assert held(outputs["folder"]) == {f"d/{name}": "hi\n" for name in ODD}
    assert outputs["missing"] == ["gone"]


def test_they_come_to_the_caller_not_to_where_the_source_is(three):
    caller = Caller(three["n3"].env)
    try:
        result = run(caller, "cat code.txt > $INFRA_SCRATCH/a", "a", node="n2", project="p")
    finally:
        caller.close()
    assert result["outputs"]["home"] == "n3"
    assert held(result["outputs"]["folder"]) == {"a": "code"}
    assert Path(result["outputs"]["folder"]).is_relative_to(three["n3"].home)


def test_every_step_of_a_chain_over_nodes_brings_its_files_to_the_caller(call):
    def chained():
        from celery import chain

        from infra_tasks import run_spec

        steps = [{"command": f"echo {n} > {n}", "outputs": ["*"], "node": f"n{n}"} for n in (2, 3)]
        first = {"command": "true", "node": "n2"}
        last = chain(*[run_spec.s(one) for one in (first, *steps)]).apply_async()
        last.get(timeout=180)
        return [last.parent.get()["outputs"], last.get()["outputs"]]

    first, last = call(chained)
    assert [(one["node"], one["home"]) for one in (first, last)] == [("n2", "n1"), ("n3", "n1")]
    assert (held(first["folder"]), held(last["folder"])) == ({"2": "2\n"}, {"3": "3\n"})


def test_what_cannot_be_fetched_is_said_and_comes_when_it_can(three, call, tmp_path):
    home, until_go = three["n1"], f"while [ ! -e {tmp_path}/go ]; do sleep 0.05; done"
    run_id = call(accept, {"command": f"echo hi > a; {until_go}", "outputs": ["a"], "node": "n2"})
    three["n2"].server.kill()
    three["n2"].server.cut()
    (tmp_path / "go").touch()
    try:
        outputs = call(get, run_id)["outputs"]
    finally:
        three["n2"].server.restart()
        for other in ("n1", "n3"):
            three["n2"].server.admit(three[other].home)
    assert (outputs["brought"], [one["path"] for one in outputs["files"]]) == (False, ["a"])
    assert "n2" in outputs["error"]

    def shown():
        return json.loads(home.infra("show", run_id, "--json").stdout)["outputs"]

    now = eventually(lambda: (one := shown())["brought"] and one, 120, "they come later")
    assert held(now["folder"]) == {"a": "hi\n"}
    assert now["error"] is None
    eventually(lambda: not list((home.home / "fetch").iterdir()), 30, "nothing more is wanted")


def test_a_fetch_that_is_killed_half_way_is_finished_by_the_next_control(three, call):
    home, size = three["n1"], 300_000_000
    command = f"head -c {size} /dev/urandom > big; for n in $(seq 50); do echo $n > $n; done; sha256sum < big"
    run_id = call(accept, {"command": command, "outputs": ["*"], "node": "n2"})
    here = home.home / "runs" / run_id
    eventually(lambda: list(here.glob(".outputs.1.*/outputs/*")), 120, "it comes")
    os.kill(home.role_pid("control"), signal.SIGKILL)
    result = call(get, run_id, within_s=240)
    folder = here / "outputs"
    eventually(folder.is_dir, 120, "all is there")
    assert len(list(folder.iterdir())) == 51
    assert (folder / "big").stat().st_size == size
    said = next(one for one in result["outputs"]["files"] if one["path"] == "big")
    assert said["sha256"] == result["stdout_tail"].split()[0]
    eventually(lambda: not list(here.glob(".outputs.1.*")), 30, "nothing half is left")
    assert len(list(folder.iterdir())) == 51
    (folder / "big").unlink()
