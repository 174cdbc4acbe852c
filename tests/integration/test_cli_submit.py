"""`infra submit` against a real Redis: all or none, told part by part, and what is accepted is known."""

from __future__ import annotations

import errno
import json
import os
import subprocess
from types import SimpleNamespace

import pytest
from cli_process import INFRA, Done, Terminal, environment, infra
from redis_process import RedisProcess

from infra_tasks.cli import spec_files
from infra_tasks.cli.door import open_fleet
from infra_tasks.cli.handing_in import HandingIn
from infra_tasks.cli.interrupts import Interrupts
from infra_tasks.errors import FleetUnreachable
from infra_tasks.ledger import open_ledger
from infra_tasks.ledger.submission import BULK
from infra_tasks.settings import Home

MANY = 2 * BULK + 50


class Fleet:
    """One node without anybody to take runs; its Redis is somewhere else, empty at first."""

    def __init__(self, home, broker):
        self.home = home
        home.root.mkdir()
        nodes = {"n1": {"ssh": "local", "root": str(home.root)}}
        projects = {"p": {"source": str(home.root), "node": "n1"}}
        home.nodes_json.write_text(
            json.dumps({"fleet": "t", "broker": broker, "nodes": nodes, "projects": projects}),
        )
        self.ledger = open_ledger(home)
        self.ledger.scripts.client.flushall()

    def infra(self, *line, **options):
        return infra(self.home.root, *line, **options)

    def accepted(self):
        return {run.id: run for run in self.ledger.runs.recent(10_000)}

    def shell(self, line):
        done = subprocess.run(
            ["sh", "-c", line], env=environment(self.home.root, INFRA=" ".join(INFRA)), cwd=self.home.root,
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        return Done(done.returncode, done.stdout, done.stderr)

    def written(self, name, specs):
        path = self.home.root / name
        path.write_text(specs if isinstance(specs, str) else "\n".join(map(json.dumps, specs)))
        return str(path)

    def handing_in(self, count, tell, **more):
        path = self.written("many.jsonl", [{"command": ["echo", str(n)]} for n in range(count)])
        self.many = spec_files.checked(spec_files.read([path], None), open_fleet(self.home), self.home, None)
        said = {"interrupts": Interrupts(), "again_is_safe": False, **more}
        return HandingIn(self.ledger, tell, patience_s=0.1, **said)


@pytest.fixture
def fleet(own_redis, tmp_path):
    made = Fleet(Home(tmp_path / "home"), own_redis.url)
    yield made
    made.ledger.close()


def test_the_specs_of_all_files_and_of_stdin_become_runs_in_their_order(fleet):
    yaml = fleet.written("a.yaml", "\ufeff- command: echo a\r\n  name: on\r\n- command: [echo, b]\r\n")
    json_lines = fleet.written("b.jsonl", [{"command": "echo c"}, {"command": "echo d", "env": {"A": "7"}}])
    done = fleet.shell(f"echo 'command: echo e' | $INFRA submit {yaml} {json_lines} -")
    assert (done.code, done.err) == (0, "")
    runs = [fleet.ledger.runs.get(run_id) for run_id in done.out.split()]
    assert [run.spec.command for run in runs] == ["echo a", ["echo", "b"], "echo c", "echo d", "echo e"]
    assert (runs[0].spec.name, runs[3].spec.env) == ("on", {"A": "7"})


def test_many_specs_with_a_mistake_in_the_last_are_not_accepted_at_all(fleet):
    big = {"command": ["true"], "env": {f"A{n}": "x" * 100_000 for n in range(11)}}
    path = fleet.written("many.jsonl", [*[{"command": "true"}] * MANY, {"command": "x", "nod": "n1"}, big])
    done = fleet.infra("submit", path)
    assert (done.code, done.out) == (2, "")
    lines = done.err.splitlines()
    assert lines[0] == f"error: {path} has 2 mistakes:"
    assert f"{path}:{MANY + 1}:18: spec {MANY + 1}: nod: unknown; did you mean 'node'?" in lines[1]
    assert f"{path}:{MANY + 2}:1: spec {MANY + 2}: this spec is" in lines[2]
    assert "at most 1048576" in lines[2]
    assert lines[3] == "  nothing was submitted"
    assert fleet.accepted() == {}


def test_names_that_nodes_json_does_not_know_are_told_with_the_nearest(fleet):
    path = fleet.written("x.yaml", "command: x\nnode: n11\nproject: hello\n")
    done = fleet.infra("submit", path)
    assert done.code == 2
    assert f"{path}:2:7: node: 'n11' is not in nodes.json; did you mean 'n1'?" in done.err
    assert f"{path}:3:10: project: 'hello' is not in nodes.json" in done.err


def test_json_tells_each_spec_by_its_number(fleet):
    path = fleet.written("x.json", '{"runs": [{"command": "a"}, {"command": "b"}, {"command": "c"}]}')
    said = [json.loads(line) for line in fleet.infra("submit", path, "--json", "--skip", "1").out.splitlines()]
    assert [each["spec"] for each in said] == [2, 3]
    assert {each["id"] for each in said} == set(fleet.accepted())


def test_a_dry_run_checks_all_and_submits_nothing(fleet):
    path = fleet.written("x.yaml", "- command: [echo, 'a b']\n  name: first\n- command: x\n")
    done = fleet.infra("submit", "--dry-run", path)
    assert done.out.splitlines()[1].split() == ["1", "first", "n1", "echo", "'a", "b'"]
    assert done.out.splitlines()[-1] == "2 specs are right; nothing was submitted"
    said = [json.loads(line) for line in fleet.infra("submit", "--dry-run", path, "--json").out.splitlines()]
    assert said[0] == {"spec": 1, "submits": {"command": ["echo", "a b"], "name": "first", "node": "n1"}}
    assert fleet.accepted() == {}


def test_with_a_key_doing_it_again_is_safe(fleet):
    path = fleet.written("x.yaml", "- command: a\n- command: b\n  idempotency_key: mine\n")
    first = fleet.infra("submit", path, "--idempotency-key", "sweep")
    assert {run.spec.idempotency_key for run in fleet.accepted().values()} == {"sweep-1", "mine"}
    assert fleet.infra("submit", path, "--idempotency-key", "sweep").out == first.out
    assert len(fleet.accepted()) == 2
    fleet.written("x.yaml", "- command: another\n")
    again = fleet.infra("submit", path, "--idempotency-key", "sweep")
    assert again.code == 2
    assert "'sweep-1' was used for another spec" in again.err


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (["submit"], "FILE|- is missing"),
        (["submit", "{}/x.yml"], "x.yml: No such file or directory; did you mean 'x.yaml'?"),
        (["submit", "{}"], "Is a directory"),
        (["submit", "-"], "stdin holds no spec"),
        (["submit", "{}/x.yaml", "--idempotency-key", ""], "--idempotency-key: found ''"),
        (["submit", "{}/x.yaml", "--format", "yml"], "did you mean 'yaml'?"),
    ],
)
def test_a_file_that_cannot_be_read_is_wrong_use(fleet, line, said):
    fleet.written("x.yaml", "command: x")
    done = fleet.infra(*(word.format(fleet.home.root) for word in line))
    assert (done.code, done.out) == (2, "")
    assert said in done.err


@pytest.mark.parametrize(("where", "code"), [(">/dev/full", 1), (">&-", 1), ("| true", 0), (">/dev/null 2>&-", 0)])
def test_a_stdout_that_takes_nothing_changes_nothing_of_what_is_accepted(fleet, where, code):
    fleet.written("many.jsonl", [{"command": ["echo", str(n)]} for n in range(MANY)])
    done = fleet.shell(f"$INFRA submit many.jsonl {where}")
    assert done.code == code
    assert len(fleet.accepted()) == MANY
    assert "Traceback" not in done.err
    if code:
        assert f"infra: {MANY} of {MANY} runs were accepted, and their ids could not be printed" in done.err


def test_a_reader_that_went_away_is_told_by_the_exit_code(fleet):
    path = fleet.written("many.jsonl", [{"command": "true"}] * MANY)
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run([*INFRA, "submit", path], env=environment(fleet.home.root), stdout=write, check=False)
    os.close(write)
    assert done.returncode == 141
    assert len(fleet.accepted()) == MANY


def test_a_connection_that_breaks_half_way_leaves_the_ids_and_says_how_to_go_on(tmp_path):
    server = RedisProcess(tmp_path / "redis").start()
    fleet = Fleet(Home(tmp_path / "home"), server.url)
    printed = []

    def tell(first, ids):
        printed.append((first, len(ids)))
        server.kill()

    with pytest.raises(FleetUnreachable) as raised:
        fleet.handing_in(MANY, tell, skipped=100).of(fleet.many)
    said = str(raised.value)
    assert printed == [(101, BULK)]
    assert "Redis does not answer" in said.splitlines()[0]
    assert f"{BULK} of {MANY} runs had been accepted (their ids are printed)" in said
    assert f"Whether specs {101 + BULK} to {100 + 2 * BULK} were" in said
    assert f"`infra show {fleet.many[BULK].id}`" in said
    assert f"--skip {100 + BULK}" in said
    with pytest.raises(FleetUnreachable, match="Do the same again"):
        fleet.handing_in(2, tell, again_is_safe=True).of(fleet.many)
    fleet.ledger.close()
    server.kill()


def test_ctrl_c_ends_between_two_parts_and_says_how_to_go_on(fleet, capsys):
    interrupts = Interrupts()
    tell = SimpleNamespace(ids=[])

    def interrupted(_first, ids):
        tell.ids += ids
        interrupts.count += 1

    ids, code = fleet.handing_in(MANY, interrupted, interrupts=interrupts).of(fleet.many)
    assert code == 130
    assert ids == tell.ids
    assert set(fleet.accepted()) == set(ids)
    assert len(ids) == BULK
    assert f"interrupted: {BULK} of {MANY} runs had been accepted" in capsys.readouterr().err


def test_what_cannot_be_printed_once_is_not_tried_again(fleet):
    tries = []

    def tell(first, _ids):
        tries.append(first)
        raise OSError(errno.ENOSPC, "No space left on device")

    handing_in = fleet.handing_in(MANY, tell)
    ids, code = handing_in.of(fleet.many)
    assert (len(ids), code, tries) == (MANY, 0, [1])
    assert handing_in.untold.errno == errno.ENOSPC


def test_who_waits_is_told_each_end_and_the_exit_code_tells_how_all_ended(fleet):
    path = fleet.written("x.yaml", "- command: a\n- command: b\n")
    with Terminal(fleet.home.root, "submit", "--wait", path) as terminal:
        terminal.shows("2 runs of 2 to come")
        for run_id in fleet.accepted():
            fleet.ledger.runs.cancel(run_id)
        assert terminal.ends() == 130
        assert terminal.seen.count("REVOKED") >= 2


def test_a_run_may_ask_for_a_private_copy(fleet):
    asked = {}
    for options in (["--private"], []):
        done = fleet.infra("run", "--detach", "--project", "p", *options, "--", "true")
        asked[len(options)] = fleet.ledger.runs.get(done.out.strip()).spec.private
    assert asked == {1: True, 0: None}
    done = fleet.infra("run", "--detach", "--private", "--", "true")
    assert (done.code, "only a run with a 'project'" in done.err) == (2, True)


def test_who_does_not_wait_cannot_follow(fleet):
    done = fleet.infra("run", "--detach", "--follow", "--", "true")
    assert (done.code, "--detach does not wait" in done.err) == (2, True)


def test_the_id_of_a_run_is_told_on_stderr_where_stdout_takes_nothing(fleet):
    done = fleet.shell("$INFRA run --detach -- true >/dev/full")
    (run_id,) = fleet.accepted()
    assert done.code == 1
    assert f"infra: run {run_id} was accepted" in done.err


def test_a_terminal_gets_the_ids_too(fleet):
    path = fleet.written("x.yaml", "- command: a\n- command: b\n")
    with Terminal(fleet.home.root, "submit", path) as terminal:
        assert terminal.ends() == 0
        assert set(terminal.seen.split()) == set(fleet.accepted())
