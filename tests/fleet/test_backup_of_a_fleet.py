"""Three nodes whose Redis is their own: saved and put back as docs/backup.md says, every node tells what it has."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
import redis
from docs_blocks import blocks
from three_nodes import ThreeNodes
from waiting import eventually

pytestmark = pytest.mark.fleet

PAGE = Path(__file__).parents[2] / "docs" / "backup.md"


@pytest.fixture(scope="module")
def fleet(tmp_path_factory):
    # All commands of a test may run on one node at once: who takes a pool run is nobody's promise.
    made = ThreeNodes(tmp_path_factory.mktemp("fleet"), slots=6)
    try:
        yield made.up()
    finally:
        print(made.logs())  # noqa: T201  shown when a test fails
        made.close()


@pytest.fixture
def book(fleet):
    opened = fleet["n1"].ledger()
    yield opened
    opened.close()


class Effects:
    """What commands wrote: a line when they start, and one when they end."""

    def __init__(self, folder):
        self.file, self.may_end = folder / "effects", folder / "may-end"

    def command(self, until="", code=0):
        wait = f"while [ ! -e {shlex.quote(str(until))} ]; do sleep 0.05; done; " if until else ""
        said = shlex.quote(str(self.file))
        return f"echo start $INFRA_RUN >>{said}; {wait}echo end $INFRA_RUN >>{said}; exit {code}"

    def starts(self):
        lines = self.file.read_text().splitlines() if self.file.exists() else []
        return sorted(line.split()[1] for line in lines if line.startswith("start"))


def accepted(fleet, command, **spec):
    said = fleet["n1"].python("-c", SUBMIT, json.dumps({"command": ["sh", "-c", command], **spec}))
    assert said.returncode == 0, said.stderr
    return said.stdout.strip()


SUBMIT = "import json, sys\nfrom infra_tasks import run_spec\nprint(run_spec.delay(json.loads(sys.argv[1])).id)"


def final(book, run_id):
    run = book.runs.get(run_id)
    return run if run and run.final else None


def copying(fleet):
    """The lines of the page that copy and lay down files, for the folders of this test."""
    (block,) = [one for one in blocks(PAGE) if "appendonly.aof" in one.text and one.language == "sh"]
    return [line for line in block.text.splitlines() if re.match(r"cp|mkdir|mv", line)]


def typed(line, fleet, kept):
    text = line.replace("/opt/infra", str(fleet.redis.folder)).replace("~/backups", str(kept))
    subprocess.run(["sh", "-ec", text], check=True)


def test_each_node_tells_what_happened_after_the_copy_and_nothing_runs_twice(fleet, book, tmp_path):
    effects, short_may_end = Effects(tmp_path), tmp_path / "short-may-end"
    held = accepted(fleet, effects.command(until=effects.may_end, code=3), node="n2")
    pulled = accepted(fleet, effects.command(until=effects.may_end))
    short = accepted(fleet, effects.command(until=short_may_end), node="n3")
    eventually(lambda: len(effects.starts()) == 3, 60, "all run")
    kept = tmp_path / "kept"
    kept.mkdir()
    with redis.Redis(port=fleet.redis.port, password=fleet.redis.password) as client:
        client.bgsave()
        eventually(lambda: not client.info("persistence")["rdb_bgsave_in_progress"], 30, "it is saved")
    save, *lay = copying(fleet)
    typed(save, fleet, kept)

    short_may_end.touch()
    ended = {short: eventually(lambda: final(book, short), 60, "the short one ended").result}
    early = accepted(fleet, effects.command(), node="n3")
    ended[early] = eventually(lambda: final(book, early), 60, "one the copy does not know ended").result
    late = [accepted(fleet, effects.command(until=effects.may_end), **where) for where in ({"node": "n2"}, {})]
    eventually(lambda: len(effects.starts()) == 6, 60, "all run")
    before = [json.loads(text)["kind"] for text in book.scripts.client.lrange("infra:events", 0, -1)]

    fleet.redis.kill()
    for line in lay:
        typed(line, fleet, kept)
    fleet.redis.start()

    def over():
        kinds = [json.loads(text)["kind"] for text in book.scripts.client.lrange("infra:events", 0, -1)]
        return kinds.count("safe_mode_off") == before.count("safe_mode_off") + 1

    eventually(over, 60, "safe mode came and went")
    effects.may_end.touch()
    for run_id, result in ended.items():
        run = eventually(lambda run_id=run_id: final(book, run_id), 60, "its end is known again")
        assert (run.state, run.result) == ("SUCCESS", result)
    states = {one: eventually(lambda one=one: final(book, one), 60, "it ended").state for one in (held, pulled, *late)}
    assert states == {held: "FAILURE", pulled: "SUCCESS", late[0]: "SUCCESS", late[1]: "SUCCESS"}
    assert effects.starts() == sorted([held, pulled, *late, *ended])
    for node in fleet.nodes.values():
        eventually(lambda node=node: node.infra("audit", "--json").returncode == 0, 60, f"{node.name}: clean")


def test_a_backup_of_one_of_them_holds_the_node_and_says_where_the_ledger_is(fleet, tmp_path):
    node = fleet["n2"]
    done = node.infra("backup", str(tmp_path / "b"))
    assert done.returncode == 0, done.stderr
    assert f"127.0.0.1:{fleet.redis.port}" in done.stderr
    assert fleet.redis.password not in done.stdout + done.stderr
    assert node.infra("down", "--keep").returncode == 0
    said = json.loads(node.infra("restore", str(tmp_path / "b"), "--json").stdout)
    assert (said["node"], said["ledger"]) == ("n2", None)
    node.up()
    assert node.infra("run", "--node", "n2", "--", "true").returncode == 0
    shutil.rmtree(said["aside"])
