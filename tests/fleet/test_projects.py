"""Runs of projects on a whole node: this code and no other, and nodes.json changed while the node runs."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from waiting import eventually

pytestmark = pytest.mark.fleet

LABELS = ["gpu"]


def accept(spec, options=None):
    from infra_tasks import run_spec

    return run_spec.apply_async((spec,), **(options or {})).id


def get(run_id):
    from infra_tasks import run_spec

    return run_spec.AsyncResult(run_id).get(timeout=180)


def run(call, spec):
    return call(get, call(accept, spec))


@pytest.fixture(scope="module")
def sources(own_node, tmp_path_factory):
    """Folders of projects, put into nodes.json of the running node."""
    root = tmp_path_factory.mktemp("sources")
    for name in ("app", "setup", "badsetup", "slowsetup", "private", "vanishing"):
        (root / name).mkdir()
        (root / name / "code.txt").write_text("old\n")
    (root / "app" / "deep").mkdir()
    (root / "app" / "deep" / "tool.sh").write_text("#!/bin/sh\ncat deep/../code.txt\n")
    (root / "app" / "deep" / "tool.sh").chmod(0o755)
    (root / "app" / "big.tmp").write_text("left out\n")
    write(own_node, root)
    return root


def entries(root):
    return {
        "app": {"source": str(root / "app"), "exclude": ["*.tmp"]},
        "setup": {"source": str(root / "setup"), "setup": f"echo x >> {root}/setups; cp code.txt made.txt"},
        "badsetup": {"source": str(root / "badsetup"), "setup": "echo this went wrong >&2; exit 3"},
        "slowsetup": {"source": str(root / "slowsetup"), "setup": ["sleep", "331"]},
        "private": {"source": str(root / "private"), "private": True},
        "vanishing": root / "vanishing",
    }


def write(node, root, **changes):
    node.write_fleet(**{"labels": LABELS, "projects": entries(root), **changes})


def test_a_project_that_is_new_in_nodes_json_can_be_used_at_once(own_node, sources, own_call):
    watcher = own_node.watcher_pid()
    result = run(own_call, {"command": ["deep/tool.sh"], "project": "app"})
    assert result["stdout_tail"] == "old\n"
    assert len(result["release"]) >= 32
    assert own_node.watcher_pid() == watcher


def test_a_command_of_a_project_runs_in_its_release_and_finds_what_it_needs(own_node, sources, own_call):
    command = "pwd; ls; echo $INFRA_PROJECT; echo $INFRA_RELEASE; touch $INFRA_SCRATCH/x; ls -ld code.txt"
    result = run(own_call, {"command": command, "project": "app"})
    folder, *files, project, release, mode = result["stdout_tail"].splitlines()
    assert Path(folder) == own_node.home / "projects" / "app" / "releases" / result["release"]
    assert files == ["code.txt", "deep"]
    assert (project, release) == ("app", result["release"])
    assert mode.startswith("-r--r--r--")


def test_all_steps_of_a_chain_run_the_code_of_its_first_step(own_node, sources, own_call):
    def chained(code):
        from celery import chain

        from infra_tasks import run_spec

        first = run_spec.s({"project": "app", "command": f"cat code.txt; echo changed > {code}"})
        result = chain(first, run_spec.si({"project": "app", "command": "cat code.txt"})).apply_async()
        last = result.get(timeout=180)
        alone = run_spec.delay({"project": "app", "command": "cat code.txt"}).get(timeout=180)
        return [[one["stdout_tail"], one["release"]] for one in (result.parent.get(timeout=5), last, alone)]

    code = sources / "app" / "code.txt"
    before = code.read_text()
    first, second, alone = own_call(chained, str(code))
    assert first == second == [before, first[1]]
    assert (alone[0], alone[1] != first[1]) == ("changed\n", True)
    code.write_text(before)


def test_whoever_sends_very_many_files_is_told_while_the_run_goes_on_and_told_what_to_do(own_node, sources, tmp_path):
    many = sources / "vanishing" / "many"
    many.mkdir()
    for number in range(10_001):
        (many / str(number)).touch()
    waits = ["sh", "-c", f"while [ ! -e {tmp_path}/go ]; do sleep 0.05; done"]
    argv = [sys.executable, "-m", "infra_tasks.cli", "run", "--project", "vanishing", "--", *waits]
    with (tmp_path / "err").open("w") as err, subprocess.Popen(argv, env=own_node.env, stderr=err) as running:
        try:
            eventually(lambda: "10,002 files" in (tmp_path / "err").read_text(), 60, "it is said before the end")
        finally:
            (tmp_path / "go").touch()
        assert running.wait(180) == 0
    assert (tmp_path / "err").read_text().count("infra sync vanishing --dry-run") == 1
    shutil.rmtree(many)


def test_a_run_that_started_before_an_edit_still_sees_the_old_code(own_node, sources, own_call, tmp_path):
    waits = f"touch {tmp_path}/up; while [ ! -e {tmp_path}/go ]; do sleep 0.05; done; cat code.txt; deep/tool.sh"
    before = own_call(accept, {"command": waits, "project": "app"})
    eventually((tmp_path / "up").exists, 30, "the run started")
    (sources / "app" / "code.txt").write_text("new\n")
    (sources / "app" / "more.txt").write_text("more\n")
    after = run(own_call, {"command": "cat code.txt more.txt", "project": "app"})
    (tmp_path / "go").touch()
    old = own_call(get, before)
    assert (old["stdout_tail"], after["stdout_tail"]) == ("old\nold\n", "new\nmore\n")
    assert old["release"] != after["release"]
    assert run(own_call, {"command": ["true"], "project": "app"})["release"] == after["release"]


def test_what_a_command_did_to_its_release_is_mended_for_the_next_one(own_node, sources, own_call):
    harm = "chmod -R u+w .; echo evil > code.txt; rm deep/tool.sh; echo extra > extra.txt; cat code.txt"
    harmed = run(own_call, {"command": harm, "project": "app"})
    assert harmed["stdout_tail"] == "evil\n"
    result = run(own_call, {"command": "ls; cat code.txt; deep/tool.sh", "project": "app"})
    assert result["release"] == harmed["release"]
    assert result["stdout_tail"] == "code.txt\ndeep\nmore.txt\nnew\nnew\n"


def test_setup_runs_once_per_release(own_node, sources, own_call):
    ids = [own_call(accept, {"command": ["cat", "made.txt"], "project": "setup"}) for _ in range(5)]
    assert [own_call(get, run_id)["stdout_tail"] for run_id in ids] == ["old\n"] * 5
    assert (sources / "setups").read_text() == "x\n"
    (sources / "setup" / "code.txt").write_text("new\n")
    assert run(own_call, {"command": ["cat", "made.txt"], "project": "setup"})["stdout_tail"] == "new\n"
    assert (sources / "setups").read_text() == "x\nx\n"


def test_a_setup_that_fails_is_told_with_its_last_lines(own_node, sources, own_call):
    raised = own_call.fails(get, own_call(accept, {"command": ["true"], "project": "badsetup"}))
    assert (raised.result["reason"], raised.result["started_at"]) == ("start_failed", None)
    assert "this went wrong" in raised.said


def test_runs_can_be_cancelled_while_one_sets_up_and_another_waits_for_that(own_node, sources, own_call, own_book):
    ids = [own_call(accept, {"command": ["true"], "project": "slowsetup"}) for _ in range(2)]
    for run_id in ids:
        eventually(lambda run_id=run_id: own_book.runs.peek(run_id) == ("SYNCING", 1), 30, "both are claimed")
    for run_id in reversed(ids):
        own_book.runs.cancel(run_id)
        assert own_call.fails(get, run_id).kind == "RunRevoked"
    assert run(own_call, {"command": ["true"]})["state"] == "SUCCESS"


def test_a_private_project_gives_every_run_a_copy_of_its_own(own_node, sources, own_call):
    spec = {"command": "cat code.txt; echo mine > code.txt; touch more; cat code.txt; pwd", "project": "private"}
    first, second = (run(own_call, spec) for _ in range(2))
    for result in (first, second):
        assert result["stdout_tail"].startswith("old\nmine\n")
        assert str(own_node.home / "runs" / result["id"]) in result["stdout_tail"]
    assert first["release"] == second["release"]
    assert (sources / "private" / "code.txt").read_text() == "old\n"


def test_a_source_that_has_vanished_is_said_and_the_next_run_finds_it_again(own_node, sources, own_call):
    (sources / "vanishing").rename(sources / "elsewhere")
    raised = own_call.fails(get, own_call(accept, {"command": ["true"], "project": "vanishing"}))
    assert (raised.kind, raised.result["reason"], raised.result["started_at"]) == ("RunFailed", "sync_failed", None)
    assert str(sources / "vanishing") in raised.said
    (sources / "elsewhere").rename(sources / "vanishing")
    assert run(own_call, {"command": ["cat", "code.txt"], "project": "vanishing"})["stdout_tail"] == "old\n"


def test_a_command_that_a_project_has_not_is_named(own_node, sources, own_call):
    raised = own_call.fails(get, own_call(accept, {"command": ["./nothing-here"], "project": "app"}))
    assert raised.result["reason"] == "start_failed"
    assert "nothing-here" in raised.said


def test_the_code_of_a_retried_run_is_that_of_its_first_attempt(own_node, sources, own_call, own_book):
    spec = {"command": "cat code.txt; test $INFRA_ATTEMPT = 2", "project": "app", "retries": 1, "retry_backoff_s": 2}
    run_id = own_call(accept, spec)
    failed = lambda: "RETRY" in {event.to_state for event in own_book.runs.events(run_id)}  # noqa: E731
    eventually(failed, 30, "its first attempt failed")
    (sources / "app" / "code.txt").write_text("newest\n")
    assert own_call(get, run_id)["stdout_tail"] == "new\n"
    assert run(own_call, {"command": ["cat", "code.txt"], "project": "app"})["stdout_tail"] == "newest\n"


def test_a_project_taken_out_of_nodes_json_fails_its_waiting_runs_in_words(own_node, sources, own_call):
    run_id = own_call(accept, {"command": ["true"], "project": "vanishing"}, {"countdown": 3})
    write(own_node, sources, projects={name: said for name, said in entries(sources).items() if name != "vanishing"})
    raised = own_call.fails(get, run_id)
    assert raised.result["reason"] == "sync_failed"
    assert "no longer in nodes.json" in raised.said
    write(own_node, sources)


def test_more_slots_take_effect_and_what_runs_goes_on(own_node, sources, own_call, tmp_path):
    def started():
        return len(list(tmp_path.glob("up.*")))

    spec = {"command": f"touch {tmp_path}/up.$$; while [ ! -e {tmp_path}/go ]; do sleep 0.05; done; echo whole"}
    ids = [own_call(accept, spec) for _ in range(4)]
    eventually(lambda: started() == 2, 30, "two slots, two commands")
    write(own_node, sources, slots=3)
    eventually(lambda: started() == 3, 60, "the third slot is used")
    (tmp_path / "go").touch()
    results = [own_call(get, run_id) for run_id in ids]
    assert [(one["attempt"], one["stdout_tail"]) for one in results] == [(1, "whole\n")] * 4
    assert started() == 4


def test_a_broken_nodes_json_is_said_and_the_node_goes_on_until_it_is_mended(own_node, sources, own_call, own_book):
    broken = own_node.home / ".broken.json"  # whole at once: half of it would be broken in another way
    broken.write_text('{"fleet": "test", "nodes": {"n1": {"slots": "many"')
    broken.chmod(0o600)
    broken.rename(own_node.home / "nodes.json")
    log = own_node.home / "logs" / "watcher.log"
    eventually(lambda: "nodes.json is wrong" in log.read_text(), 30, "the watcher says so")
    assert run(own_call, {"command": ["echo", "still"]})["stdout_tail"] == "still\n"
    own_node.kill("agent", "control", "worker")
    assert run(own_call, {"command": ["echo", "back"]})["stdout_tail"] == "back\n"
    said = own_node.infra("run", "--", "true")
    assert said.returncode == 2
    assert "nodes.json" in said.stderr
    assert "Traceback" not in said.stderr
    worker = own_node.role_pid("worker")
    write(own_node, sources, labels=[*LABELS, "fresh"])
    assert run(own_call, {"command": ["echo", "mended"], "labels": ["fresh"]})["stdout_tail"] == "mended\n"
    eventually(lambda: own_node.role_pid("worker") not in {None, worker}, 30, "the worker took it up")
    assert log.read_text().count("nodes.json is wrong") == 1
