"""Outputs of runs on a whole node: however a run ends, and whoever of ours is killed, they are there or it is said."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from attempts import is_alive
from waiting import eventually

pytestmark = pytest.mark.fleet

MIB = 1024 * 1024


def accept(spec):
    from infra_tasks import run_spec

    return run_spec.delay(spec).id


def get(run_id, within_s=180):
    from infra_tasks import run_spec

    return run_spec.AsyncResult(run_id).get(timeout=within_s)


def run(call, command, *outputs, **spec):
    return call(get, call(accept, {"command": command, "outputs": list(outputs), **spec}))


def fails(call, command, *outputs, **spec):
    return call.fails(get, call(accept, {"command": command, "outputs": list(outputs), **spec})).result


def held(folder):
    root = Path(folder)
    return {str(path.relative_to(root)): path.read_text() for path in root.rglob("*") if path.is_file()}


def state(book, run_id):
    return book.runs.peek(run_id)[0]


def test_a_caller_finds_the_files_where_the_result_says(call, node):
    command = "mkdir -p out/deep; echo 1 > out/a.csv; echo 2 > out/deep/b.csv; echo x > other"
    result = run(call, command, "out/**/*.csv", "gone/*")
    outputs = result["outputs"]
    assert outputs["folder"] == str(node.home / "runs" / result["id"] / "outputs")
    assert held(outputs["folder"]) == {"out/a.csv": "1\n", "out/deep/b.csv": "2\n"}
    assert [one["path"] for one in outputs["files"]] == ["out/a.csv", "out/deep/b.csv"]
    assert (outputs["missing"], outputs["brought"], outputs["home"], outputs["error"]) == (["gone/*"], True, "n1", None)


def test_a_run_that_fails_runs_into_its_limit_or_is_cancelled_has_outputs_as_well(call, book):
    writes = "echo hi > $INFRA_SCRATCH/a"
    failed = fails(call, f"{writes}; exit 3", "a")
    late = fails(call, f"{writes}; sleep 321", "a", timeout_s=5, grace_s=0)
    cancelled = call(accept, {"command": f"{writes}; echo up; sleep 322", "outputs": ["a"], "grace_s": 1})
    eventually(lambda: state(book, cancelled) == "STARTED", 30, "it runs")
    scratch = Path(failed["outputs"]["folder"]).parent.parent / cancelled / "1" / "scratch"
    eventually(lambda: (scratch / "a").exists() and (scratch / "a").read_text(), 30, "it has written")
    book.runs.cancel(cancelled)
    ended = call.fails(get, cancelled).result
    assert [one["reason"] or one["state"] for one in (failed, late, ended)] == ["exit_code", "timeout", "REVOKED"]
    for one in (failed, late, ended):
        assert held(one["outputs"]["folder"]) == {"a": "hi\n"}


def test_a_retry_replaces_what_the_attempt_before_left(call):
    command = "echo $INFRA_ATTEMPT > of-$INFRA_ATTEMPT; test $INFRA_ATTEMPT = 2"
    result = run(call, command, "of-*", retries=1, retry_backoff_s=0)
    assert held(result["outputs"]["folder"]) == {"of-2": "2\n"}


def test_every_run_of_a_chain_has_its_outputs_on_the_node_of_its_caller(call):
    def chained():
        from celery import chain

        from infra_tasks import run_spec

        steps = [{"command": f"echo {n} > {n}", "outputs": ["*"]} for n in (1, 2)]
        last = chain(run_spec.s(steps[0]), run_spec.s({"command": "true"}), run_spec.s(steps[1])).apply_async()
        last.get(timeout=180)
        return [last.parent.parent.get()["outputs"], last.get()["outputs"]]

    first, last = call(chained)
    assert (held(first["folder"]), held(last["folder"])) == ({"1": "1\n"}, {"2": "2\n"})
    assert (first["home"], last["home"]) == ("n1", "n1")


def test_a_private_project_gives_what_the_run_made_or_changed(own_node, own_call, tmp_path):
    for name in ("private", "shared"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "code.txt").write_text("old\n")
        (tmp_path / name / "same.txt").write_text("same\n")
    projects = {"private": {"source": str(tmp_path / "private"), "private": True}, "shared": tmp_path / "shared"}
    own_node.write_fleet(labels=["gpu"], projects=projects)
    command = "echo new > made.txt; echo changed > code.txt; echo s > $INFRA_SCRATCH/s.txt"
    result = run(own_call, command, "*.txt", project="private")
    assert held(result["outputs"]["folder"]) == {"code.txt": "changed\n", "made.txt": "new\n", "s.txt": "s\n"}
    result = run(own_call, "echo s > $INFRA_SCRATCH/s.txt", "*.txt", "same.txt", project="shared")
    assert held(result["outputs"]["folder"]) == {"s.txt": "s\n"}
    assert result["outputs"]["missing"] == ["same.txt"]


def test_the_command_line_brings_and_shows_them(node):
    said = node.infra("run", "--output", "*.txt", "--output", "no", "--", "sh", "-c", "echo hi > 'a b.txt'; echo out")
    assert (said.returncode, said.stdout) == (0, "out\n")
    assert "outputs: 1 file, 3 B in " in said.stderr
    assert "missing: no" in said.stderr
    run_id = node.infra("runs", "--limit", "1", "--json").stdout.split('"id": "')[1].split('"')[0]
    shown = node.infra("show", run_id).stdout
    assert f"1 file, 3 B in {node.home}/runs/{run_id}/outputs on n1" in shown
    assert '"path": "a b.txt"' in node.infra("show", run_id, "--json").stdout


def test_outputs_arrive_though_the_worker_was_killed_while_the_command_ran(own_node, own_call, own_book, tmp_path):
    command = f"echo hi > a; touch {tmp_path}/up; while [ ! -e {tmp_path}/go ]; do sleep 0.05; done; exit 5"
    run_id = own_call(accept, {"command": command, "outputs": ["a"]})
    eventually((tmp_path / "up").exists, 30, "it runs")
    own_node.kill("worker", "children", "agent")
    (tmp_path / "go").touch()
    result = own_call.fails(get, run_id).result
    assert (result["exit_code"], result["attempt"], held(result["outputs"]["folder"])) == (5, 1, {"a": "hi\n"})


def collecting(node, run_id):
    """Return whether somebody is at it: some of it is there, the list is not."""
    attempt = node.home / "runs" / run_id / "1"
    return (attempt / "outputs" / "big-1").exists() and not (attempt / "outputs.json").exists()


@pytest.mark.timeout(1200)
def test_outputs_arrive_though_everybody_was_killed_while_they_were_collected(own_node, own_call, own_book):
    count, size = 40, 80 * MIB  # with holes: it takes time to read them, and no room
    sparse = f"dd if=/dev/zero of=big-$n bs=1 count=1 seek={size - 1} 2> /dev/null"
    command = f"for n in $(seq {count}); do {sparse}; done"
    run_id = own_call(accept, {"command": command, "outputs": ["big-*"]})
    eventually(lambda: collecting(own_node, run_id), 60, "somebody collects")
    own_node.kill("worker", "children")
    assert collecting(own_node, run_id)
    eventually(lambda: own_node.role_pid("agent"), 30, "the agent lives")
    own_node.kill("agent")
    result = own_call(get, run_id, 900, within_s=920)
    assert (result["state"], result["outputs"]["count"], result["outputs"]["brought"]) == ("SUCCESS", count, True)
    files = list(Path(result["outputs"]["folder"]).iterdir())
    assert sum(path.stat().st_size for path in files) == count * size
    assert not [path for path in own_node.home.glob(f"runs/{run_id}/.outputs.*") if path.is_dir()]


def test_outputs_arrive_though_the_worker_child_that_waits_is_frozen(own_node, own_call, tmp_path):
    run_id = own_call(accept, {"command": f"echo hi > a; touch {tmp_path}/up; sleep 3", "outputs": ["a"]})
    eventually((tmp_path / "up").exists, 30, "it runs")
    children = own_node.worker_children()
    for pid in children:
        os.kill(pid, signal.SIGSTOP)
    try:
        result = own_call(get, run_id)
    finally:
        for pid in children:
            if is_alive(pid):
                os.kill(pid, signal.SIGCONT)
    assert held(result["outputs"]["folder"]) == {"a": "hi\n"}
