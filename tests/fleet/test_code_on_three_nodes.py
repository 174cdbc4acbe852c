"""Runs of projects on three nodes over real ssh: the right code on every node, or a clear refusal."""

from __future__ import annotations

import os
import re
import shutil
from collections import Counter
from pathlib import Path

import pytest
from caller import Caller
from rsync_options import wrong_options
from ssh_server import USUAL_PATH
from waiting import eventually

pytestmark = pytest.mark.fleet

DIGEST = Path(__file__).parent.parent / "tree_digest.py"
SEES = ["python3", "tree_digest.py"]
SLOW_KIB_PER_S = 500


def accept(spec, options=None):
    from infra_tasks import run_spec

    return run_spec.apply_async((spec,), **(options or {})).id


def get(run_id, within_s=240):
    from infra_tasks import run_spec

    return run_spec.AsyncResult(run_id).get(timeout=within_s)


@pytest.fixture(scope="module")
def call(three):
    one = Caller(three["n1"].env)
    yield one
    one.close()


@pytest.fixture(scope="module")
def book(three):
    opened = three["n1"].ledger()
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def sources(three, tmp_path_factory):
    """Projects whose code says what it is."""
    root = tmp_path_factory.mktemp("sources")
    for name in ("app", "other", "strange", "harmed"):
        (root / name / "deep").mkdir(parents=True)
        shutil.copy(DIGEST, root / name)
        (root / name / "code.txt").write_text("old\n")
        (root / name / "deep" / "tool.sh").write_text("#!/bin/sh\ncat code.txt\n")
        (root / name / "deep" / "tool.sh").chmod(0o755)
        (root / name / "link").symlink_to("deep/tool.sh")
    (root / "strange" / 'it\'s "a" $HOME; -rf').write_text("x")
    (root / "strange" / "new\nline").write_text("x")
    three.write(**{item.name: item for item in root.iterdir()})
    return root


def run(call, spec):
    return call(get, call(accept, spec))


def was_in(book, run_id, state):
    """Say whether a run is in a state or was: it may have gone on by now."""
    return state in {event.to_state for event in book.runs.events(run_id)}


def is_nothing_half_left(three, *names):
    """Who builds a release may tidy up behind the run that it was built for."""
    eventually(lambda: not any(three[name].leftovers() for name in names), 30, "nothing half is left")
    return True


def sees(call, node, project="app"):
    """Run the project's own look at its tree on a node; return what it saw, after it was held against the result."""
    result = run(call, {"command": SEES, "project": project, "node": node})
    assert result["stdout_tail"].strip() == result["release"]
    return result


@pytest.mark.parametrize("project", ["app", "strange"])
@pytest.mark.parametrize("node", ["n1", "n2", "n3"])
def test_a_run_for_any_node_finds_its_code_there_whatever_was_there_before(three, sources, call, node, project):
    result = sees(call, node, project)
    assert result["release"] in three[node].releases(project)
    assert is_nothing_half_left(three, node)
    assert sees(call, node, project)["release"] == result["release"]


def test_an_edit_is_another_release_and_what_runs_keeps_the_old_one(three, sources, call, tmp_path):
    waits = (
        f"touch {tmp_path}/up; while [ ! -e {tmp_path}/go ]; do sleep 0.05; done; cat code.txt; python3 tree_digest.py"
    )
    before = call(accept, {"command": waits, "project": "app", "node": "n2"})
    eventually((tmp_path / "up").exists, 30, "the run started")
    (sources / "app" / "code.txt").write_text("new\n")
    after = run(call, {"command": "cat code.txt; python3 tree_digest.py", "project": "app", "node": "n2"})
    shown = three["n1"].infra("show", after["id"]).stdout
    assert re.search(r"code ready: \w{12}: 1 file, 4 B brought to n2 in \d+\.\d\d s, \d shared", shown)
    (tmp_path / "go").touch()
    old = call(get, before)
    assert old["stdout_tail"] == f"old\n{old['release']}\n"
    assert after["stdout_tail"] == f"new\n{after['release']}\n"
    assert old["release"] != after["release"]


def test_the_code_of_a_retried_run_is_that_of_its_first_attempt_on_another_node_too(three, sources, call, book):
    command = "cat code.txt; test $INFRA_ATTEMPT = 2"
    spec = {"command": command, "project": "app", "node": "n3", "retries": 1, "retry_backoff_s": 2}
    run_id = call(accept, spec)
    eventually(lambda: was_in(book, run_id, "RETRY"), 30, "its first attempt failed")
    was = (sources / "app" / "code.txt").read_text()
    (sources / "app" / "code.txt").write_text("newest\n")
    assert call(get, run_id)["stdout_tail"] == was
    assert run(call, {"command": ["cat", "code.txt"], "project": "app", "node": "n3"})["stdout_tail"] == "newest\n"


def test_what_a_command_did_to_its_release_is_mended_before_the_next_one_there(three, sources, call):
    harm = "chmod -R u+w .; echo evil > code.txt; rm deep/tool.sh; echo extra > extra.txt; cat code.txt"
    harmed = run(call, {"command": harm, "project": "harmed", "node": "n2"})
    assert harmed["stdout_tail"] == "evil\n"
    assert sees(call, "n2", "harmed")["release"] == harmed["release"]


def test_a_run_that_any_of_several_nodes_may_take_fetches_its_code_itself(three, sources, call, book, tmp_path):
    (sources / "app" / "code.txt").write_text("for the pool\n")
    waits = f"python3 tree_digest.py; echo $INFRA_NODE; touch {tmp_path}/$INFRA_NODE.$$; "
    waits += f"while [ ! -e {tmp_path}/go ]; do sleep 0.05; done"
    ids = [call(accept, {"command": waits, "project": "app", "labels": ["far"]}) for _ in range(4)]
    eventually(lambda: len(list(tmp_path.glob("n?.*"))) == 4, 60, "both nodes are full")
    (tmp_path / "go").touch()
    results = [call(get, run_id) for run_id in ids]
    assert Counter(one["stdout_tail"].split()[1] for one in results) == {"n2": 2, "n3": 2}
    assert {one["stdout_tail"].split()[0] for one in results} == {results[0]["release"]}
    fetched = [each.cause for one in results for each in book.runs.events(one["id"]) if "brought" in each.cause]
    assert any(re.search(r"\d files?, .* brought from n1 to n[23] in \d+\.\d\d s", said) for said in fetched)
    expected = book.code.expected()
    assert {expected["app", node] for node in ("n2", "n3")} == {results[0]["release"]}
    assert is_nothing_half_left(three, "n2", "n3")


def test_a_node_whose_sshd_is_away_gets_the_run_all_the_same_and_fetches_its_code(three, sources, call, book):
    (sources / "app" / "code.txt").write_text("while it was away\n")
    three["n2"].server.cut()
    three["n2"].server.kill()
    try:
        assert sees(call, "n2")["node"] == "n2"
    finally:
        three["n2"].server.restart()
    (sources / "app" / "code.txt").write_text("when it was back\n")
    assert sees(call, "n2")["release"] in three["n2"].releases("app")


def test_where_the_source_cannot_be_asked_another_holder_gives_the_code(three, sources, call, book, tmp_path):
    (sources / "app" / "code.txt").write_text("from a holder\n")
    held = sees(call, "n2")["release"]
    eventually(lambda: "n2" in book.code.holders("app", held), 60, "the ledger knows that n2 holds it")
    blocks = {"command": f"touch {tmp_path}/up.$$; while [ ! -e {tmp_path}/go ]; do sleep 0.05; done"}
    blockers = [call(accept, {**blocks, "node": node}) for node in ("n2", "n2", "n3", "n3")]
    eventually(lambda: len(list(tmp_path.glob("up.*"))) == 4, 30, "n2 and n3 are full")
    waiting = call(accept, {"command": SEES, "project": "app", "labels": ["far"]})
    eventually(lambda: book.runs.peek(waiting)[0] == "QUEUED", 30, "its code is fixed")
    three["n1"].server.cut()
    three["n1"].server.kill()
    try:
        for run_id in blockers[2:]:
            book.runs.cancel(run_id)
        result = call(get, waiting)
    finally:
        three["n1"].server.restart()
        (tmp_path / "go").touch()
    assert (result["node"], result["release"], result["stdout_tail"].strip()) == ("n3", held, held)
    assert [call(get, run_id)["state"] for run_id in blockers[:2]] == ["SUCCESS"] * 2


@pytest.mark.parametrize("how", ["unknown", "changed"])
def test_a_host_key_that_nobody_accepted_fails_the_run_in_words(three, sources, call, how):
    (sources / "other" / "code.txt").write_text(how)
    known = three["n1"].home / "ssh" / "known_hosts"
    port = three["n2"].server.port
    if how == "changed":
        three["n2"].server.restart(new_host_key=True)
    else:
        three["n2"].server.restart()
        known.write_text("".join(line for line in known.read_text().splitlines(True) if f":{port} " not in line))
    try:
        raised = call.fails(get, call(accept, {"command": SEES, "project": "other", "node": "n2"}))
        assert (raised.result["reason"], raised.result["started_at"]) == ("sync_failed", None)
        assert "infra key accept n2" in raised.said
    finally:
        for name in ("n1", "n3"):
            three["n2"].server.introduce(three[name].home)
    assert sees(call, "n2", "other")["node"] == "n2"


def test_several_projects_and_releases_run_side_by_side_on_every_node(three, sources, call):
    command = "cat code.txt; python3 tree_digest.py"
    released = set()
    for number in range(3):
        ids = []
        for project in ("app", "other", "strange"):
            (sources / project / "code.txt").write_text(f"{project} {number}\n")
            ids += [call(accept, {"command": command, "project": project, "node": node}) for node in three.nodes]
        done = [call(get, run_id) for run_id in ids]
        said = [f"{project} {number}\n" for project in ("app", "other", "strange") for _ in three.nodes]
        assert [one["stdout_tail"] for one in done] == [f"{a}{b['release']}\n" for a, b in zip(said, done, strict=True)]
        released |= {one["release"] for one in done}
    assert len(released) == 9


def test_many_runs_of_a_new_release_for_one_node_are_one_transfer(three, sources, call):
    (sources / "app" / "code.txt").write_text("for many\n")

    def transfers():  # n1 sends it, or n2, when it seemed to be away for a moment, fetches it
        return sum(len(three[name].rsync.lines()) for name in ("n1", "n2"))

    before = transfers()
    ids = [call(accept, {"command": SEES, "project": "app", "node": "n2"}) for _ in range(8)]
    results = [call(get, run_id) for run_id in ids]
    assert {one["stdout_tail"].strip() for one in results} == {results[0]["release"]}
    assert transfers() == before + 1


def test_a_node_without_rsync_fails_the_run_in_words(three, sources, call):
    (sources / "other" / "code.txt").write_text("not without rsync\n")
    three["n2"].server.restart(path="/nowhere")
    try:
        raised = call.fails(get, call(accept, {"command": SEES, "project": "other", "node": "n2"}))
        assert (raised.result["reason"], raised.result["started_at"]) == ("sync_failed", None)
        assert "has no rsync: install it there" in raised.said
    finally:
        three["n2"].server.restart(path=USUAL_PATH)
    assert sees(call, "n2", "other")["node"] == "n2"


@pytest.fixture
def big(three, sources):
    """Code that takes some seconds to get anywhere."""
    (sources / "other" / "big").write_bytes(os.urandom(3_000_000))
    for node in three.nodes.values():
        node.rsync.slow(SLOW_KIB_PER_S)
    yield
    for node in three.nodes.values():
        node.rsync.does()
    (sources / "other" / "big").unlink()


def arriving(three, *names):
    """Return the first of these nodes whose releases of `other` are being built, and have some of the big file."""
    for name in names:
        shelf = three[name].home / "projects" / "other" / "releases"
        if [item for item in shelf.glob(".building-*/.big.*") if item.stat().st_size]:
            return name
    return None


def test_a_run_cancelled_while_its_node_fetches_its_code_ends_at_once_and_so_does_the_rsync(
    three, sources, call, book, big
):
    run_id = call(accept, {"command": SEES, "project": "other", "labels": ["far"]})
    node = eventually(lambda: arriving(three, "n2", "n3"), 60, "one of them fetches")
    worker = three[node].role_pid("worker")
    book.runs.cancel(run_id)
    assert call.fails(get, run_id, within_s=240).kind == "RunRevoked"
    eventually(lambda: not three[node].rsync.running(worker), 20, "its rsync has ended")
    three[node].rsync.does()
    assert sees(call, node, "other")["node"] == node
    assert is_nothing_half_left(three, node)


@pytest.mark.parametrize("victims", [("control", "agent")], ids="+".join)
def test_a_control_killed_while_code_is_on_its_way_is_followed_by_one_that_ends_right(
    three, sources, call, big, victims
):
    run_id = call(accept, {"command": SEES, "project": "other", "node": "n3"})
    eventually(lambda: arriving(three, "n3"), 60, "half way")
    three["n1"].kill(*victims)
    three["n1"].rsync.does()
    result = call(get, run_id)
    assert (result["node"], result["stdout_tail"].strip()) == ("n3", result["release"])
    assert is_nothing_half_left(three, "n3")


@pytest.mark.parametrize("victims", [("children",), ("worker", "children", "agent")], ids="+".join)
def test_a_worker_killed_while_it_fetches_code_is_followed_by_one_that_ends_right(three, sources, call, big, victims):
    run_id = call(accept, {"command": SEES, "project": "other", "labels": ["far"]})
    node = eventually(lambda: arriving(three, "n2", "n3"), 60, "one of them fetches")
    three[node].kill(*victims)
    for name in ("n2", "n3"):
        three[name].rsync.does()
    result = call(get, run_id)
    assert result["stdout_tail"].strip() == result["release"]
    assert sees(call, node, "other")["release"] == result["release"]
    assert is_nothing_half_left(three, node)


RUNS = 200
EDITS = 20


@pytest.mark.timeout(1200)
def test_two_hundred_runs_while_the_project_is_edited_each_see_exactly_the_tree_in_their_result(three, sources, call):
    ids = []
    for number in range(EDITS):
        edit(sources / "app", number)
        nodes = [{"node": "n1"}, {"node": "n2"}, {"node": "n3"}, {"labels": ["far"]}, {}]
        specs = [{"command": SEES, "project": "app", **nodes[turn % len(nodes)]} for turn in range(RUNS // EDITS)]
        ids += [call(accept, spec) for spec in specs]
        call(get, ids[-1 - number % 3])
    results = [call(get, run_id, 200, within_s=220) for run_id in ids]
    assert [one["stdout_tail"].strip() for one in results] == [one["release"] for one in results]
    assert Counter(one["state"] for one in results) == {"SUCCESS": RUNS}
    assert {one["node"] for one in results} == {"n1", "n2", "n3"}
    assert len({one["release"] for one in results}) > EDITS / 2
    assert is_nothing_half_left(three, *three.nodes)


def edit(project, number):
    """Change contents, names, modes and links a little, so that no two rounds are one tree."""
    (project / "code.txt").write_text(f"round {number:03}\n")
    (project / f"new{number}").write_text(str(number))
    (project / f"new{number - 3}").unlink(missing_ok=True)
    (project / "deep" / "tool.sh").chmod(0o755 if number % 2 else 0o644)
    (project / "link").unlink()
    (project / "link").symlink_to("code.txt" if number % 2 else "deep/tool.sh")
    if number % 5 == 0:
        (project / "deep" / "more").mkdir(exist_ok=True)
        (project / "deep" / "more" / "file").write_text(str(number))
    elif number % 5 == 3:
        shutil.rmtree(project / "deep" / "more", ignore_errors=True)


def test_every_rsync_that_really_ran_had_only_options_apples_knows(three):
    lines = [line for node in three.nodes.values() for line in node.rsync.lines()]
    assert len(lines) > 20
    assert [wrong for line in lines for wrong in wrong_options(line)] == []
    assert {"n1", "n3"} <= {name for name, node in three.nodes.items() if node.rsync.lines()}
