"""`infra sync` to nodes behind a real sshd, and what `infra syncs` and `infra releases` then tell."""

from __future__ import annotations

import json
import os
import shutil
import time

import psutil
import pytest
from cli_process import Terminal, infra
from redis_process import RedisProcess
from rsync_on_path import RsyncOnPath
from ssh_server import SshServer
from waiting import eventually

from infra_tasks.ledger import open_ledger
from infra_tasks.ledger.code import HeldRelease
from infra_tasks.releases.remote.launcher import write_launcher
from infra_tasks.releases.remote.ssh_files import SshFiles
from infra_tasks.settings import Home

FAR = ("mac-2", "mac-3")


@pytest.fixture(scope="module")
def redis(tmp_path_factory):
    started = RedisProcess(tmp_path_factory.mktemp("redis")).start()
    yield started
    started.kill()


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    started = SshServer(tmp_path_factory.mktemp("sshd")).start()
    yield started
    started.close()


@pytest.fixture
def fleet(tmp_path, redis, server):
    made = TestFleet(tmp_path, redis, server)
    made.ledger.scripts.client.flushall()
    yield made
    made.close()


class TestFleet:
    """This node, mac-1, has the source of `hello`; mac-2 and mac-3 are other roots behind one sshd. No role runs."""

    __test__ = False

    def __init__(self, folder, redis, server):
        self.server = server
        self.home = Home(folder / "home")
        self.code = folder / "code"
        self.put("hello.py", "print('hello')\n")
        self.put("data/numbers", "1 2 3\n")
        self.far = {name: Home(folder / name) for name in FAR}
        for name, home in {"mac-1": self.home, **self.far}.items():
            assert infra(home.root, "init", "--name", name, "--project", f"hello={self.code}").code == 0
            write_launcher(home)
        self.change(broker=redis.url)
        self.change_nodes(**{name: {"ssh": server.address, "root": str(home.root)} for name, home in self.far.items()})
        server.admit(self.home.root)
        self.ledger = open_ledger(self.home)

    def close(self):
        self.ledger.close()
        self.server.cut()
        shutil.rmtree(SshFiles(self.home).client_config().parent, ignore_errors=True)

    def change(self, **said):
        raw = json.loads(self.home.nodes_json.read_text())
        self.home.nodes_json.write_text(json.dumps({**raw, **said}))

    def change_nodes(self, **nodes):
        raw = json.loads(self.home.nodes_json.read_text())
        self.change(nodes={**raw["nodes"], **nodes})

    def put(self, path, text):
        place = self.code / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)

    def infra(self, *line, **options):
        return infra(self.home.root, *line, **options)

    def json(self, *line, code=0):
        done = self.infra(*line, "--json")
        assert done.code == code, done.err
        return json.loads(done.out)

    def transfers(self):
        """Return the rsyncs this node has started."""
        mine = str(SshFiles(self.home).client_config())
        return [one for one in psutil.process_iter(["name", "cmdline"])
                if one.info["name"] == "rsync" and any(mine in word for word in one.info["cmdline"] or ())]  # fmt: skip

    def trees(self, node):
        home = self.far.get(node, self.home)
        return sorted(path.name for path in (home.projects / "hello" / "releases").glob("[0-9a-f]*") if path.is_dir())


def test_all_nodes_get_one_release_and_a_line_each(fleet):
    done = fleet.infra("sync", "hello")
    assert done.code == 0, done.err
    head, *lines = done.out.splitlines()
    project, short = head.split()
    assert project == "hello"
    assert [line.split()[0] for line in lines] == ["mac-1", "mac-2", "mac-3"]
    assert all("brought 2 files, 21 B in " in line for line in lines)
    trees = {tuple(fleet.trees(node)) for node in ("mac-1", *FAR)}
    assert len(trees) == 1
    assert trees.pop()[0].startswith(short)
    again = fleet.infra("sync", "hello")
    assert [line.split(maxsplit=1)[1] for line in again.out.splitlines()[1:]] == ["held already"] * 3
    assert again.err == ""


def test_only_named_nodes_get_it_and_only_what_they_lack(fleet):
    fleet.json("sync", "hello", "--node", "mac-2")
    assert fleet.trees("mac-3") == []
    fleet.put("hello.py", "print('changed')\n")
    said = fleet.json("sync", "hello", "--node", "mac-2", "--node", "mac-2")
    assert said["release"] in fleet.trees("mac-2")
    (one,) = said["nodes"]
    assert one.pop("duration_s") > 0
    assert one == {"node": "mac-2", "said": "brought", "files": 1, "size_bytes": 17, "shared_files": 1, "error": None}


def test_a_node_that_fails_is_told_the_others_get_it_and_the_exit_code_is_1(fleet):
    fleet.change_nodes(gone={"ssh": "me@127.0.0.1:1", "root": "/x"})
    done = fleet.infra("sync", "hello")
    assert done.code == 1
    lines = dict(line.split(maxsplit=1) for line in done.out.splitlines()[1:] if line[0] != " ")
    assert lines["gone"].startswith("FAILED: gone (me@127.0.0.1:1)")
    assert lines["mac-2"].startswith("brought")
    assert "Traceback" not in done.out + done.err
    said = fleet.json("sync", "hello", "--node", "gone", code=1)
    assert said["nodes"][0]["said"] == "failed"
    assert "me@127.0.0.1:1" in said["nodes"][0]["error"]


def test_an_unknown_host_key_is_refused_with_its_cure(fleet):
    (fleet.home.root / "ssh" / "known_hosts").unlink()
    done = fleet.infra("sync", "hello", "--node", "mac-2")
    assert done.code == 1
    assert "infra key accept mac-2" in done.out
    assert fleet.trees("mac-2") == []
    assert fleet.infra("key", "accept", "mac-2", "--fingerprint", fleet.server.fingerprint()).code == 0
    assert fleet.infra("sync", "hello", "--node", "mac-2").code == 0


def test_what_was_synced_is_in_the_log_and_is_expected_there_from_now_on(fleet):
    fleet.change_nodes(gone={"ssh": "me@127.0.0.1:1", "root": "/x"})
    fleet.json("sync", "hello", code=1)
    said = {one["node"]: one for one in fleet.json("syncs")}
    assert (said["mac-2"]["why"], said["mac-2"]["said"], said["mac-2"]["source"]) == ("sync", "brought", "mac-1")
    assert (said["mac-2"]["files"], said["mac-2"]["size_bytes"]) == (2, 21)
    assert said["gone"]["said"] == "failed"
    assert fleet.ledger.code.expected().keys() == {("hello", node) for node in ("mac-1", *FAR)}
    asked = fleet.ledger.scripts.client.lrange("dispatch.mac-2", 0, -1)
    assert [json.loads(one)["headers"]["task"] for one in asked] == ["infra_tasks.check_code"]
    text = fleet.infra("syncs").out
    assert "brought 2 files, 21 B in " in text
    assert "FAILED: gone (me@127.0.0.1:1)" in text
    assert [one["node"] for one in fleet.json("syncs", "--node", "gone", "--limit", "1")] == ["gone"]
    fleet.json("sync", "hello", "--node", "mac-2")
    assert fleet.json("syncs", "--limit", "1")[0]["said"] == "held"


def test_without_redis_code_is_brought_all_the_same_and_that_is_said(fleet):
    fleet.change(broker="redis://127.0.0.1:1/0")
    done = fleet.infra("sync", "hello", "--node", "mac-2")
    assert done.code == 0
    assert len(fleet.trees("mac-2")) == 1
    assert "not in the sync log" in done.err


def test_a_source_that_is_gone_is_one_error_and_in_the_log(fleet):
    fleet.code.rename(fleet.code.with_name("moved"))
    for line in (["sync", "hello"], ["sync", "hello", "--dry-run"]):
        done = fleet.infra(*line)
        assert done.code == 1
        assert done.err.startswith("error: the source")
        assert "Traceback" not in done.err
    assert {one["said"] for one in fleet.json("syncs")} == {"failed"}


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (["sync", "helo"], "did you mean 'hello'"),
        (["sync", "hello", "--node", "mac2"], "did you mean 'mac-2'"),
        (["sync", "hello", "--dry-run", "--node", "mac2"], "did you mean 'mac-2'"),
        (["releases", "--node", "mac2"], "did you mean 'mac-2'"),
        (["releases", "--project", "helo"], "did you mean 'hello'"),
        (["syncs", "--node", "mac2"], "did you mean 'mac-2'"),
        (["syncs", "--limit", "0"], "1 to 1000"),
        (["release", "prune", "--project", "helo"], "did you mean 'hello'"),
        (["release", "prune", "--node", "mac2"], "did you mean 'mac-2'"),
        (["release", "prnue"], "did you mean 'prune'"),
    ],
)
def test_wrong_names_are_told_with_the_nearest(fleet, line, said):
    done = fleet.infra(*line)
    assert done.code == 2
    assert said in done.err


def test_a_source_on_another_node_is_told_with_that_node(fleet):
    raw = json.loads(fleet.home.nodes_json.read_text())
    raw["projects"]["hello"]["node"] = "mac-3"
    fleet.change(projects=raw["projects"])
    for line in (["sync", "hello"], ["sync", "hello", "--dry-run"]):
        done = fleet.infra(*line)
        assert done.code == 2
        assert "on node mac-3" in done.err


def test_a_dry_run_tells_what_goes_what_stays_and_why_and_sends_nothing(fleet):
    fleet.put(".gitignore", "*.log\n")
    fleet.put(".infraignore", "/data\n")
    fleet.put("x.log", "")
    (fleet.code / "link").symlink_to("hello.py")
    said = fleet.json("sync", "hello", "--dry-run")
    assert [one["path"] for one in said["goes"]] == [".gitignore", ".infraignore", "hello.py", "link"]
    assert said["left_out"] == [
        {"path": "data/", "reason": ".infraignore:1: /data"},
        {"path": "x.log", "reason": ".gitignore:1: *.log"},
    ]
    assert (said["files"], said["heavy"], said["nodes"]) == (4, False, [])
    done = fleet.infra("sync", "hello", "--dry-run")
    assert (done.code, done.err) == (0, "")
    for words in ("hello.py", "link -> hello.py", ".infraignore:1: /data", ".gitignore:1: *.log", "left out: 2",
                  "4 files, ", said["release"][:12]):  # fmt: skip
        assert words in done.out
    assert fleet.trees("mac-1") == fleet.trees("mac-2") == []
    assert fleet.json("sync", "hello")["release"] == said["release"]


def test_a_dry_run_asks_a_named_node_what_it_lacks(fleet):
    line = ["sync", "hello", "--dry-run", "--node", "mac-2", "--node", "mac-1"]
    assert [one["files"] for one in fleet.json(*line)["nodes"]] == [2, 2]
    fleet.json("sync", "hello")
    assert all(one["held"] for one in fleet.json(*line)["nodes"])
    fleet.put("hello.py", "print('changed')\n")
    for one in fleet.json(*line)["nodes"]:
        assert (one["files"], one["size_bytes"], one["held"], one["at_most"]) == (1, 17, False, False)
    out = fleet.infra(*line).out
    assert "mac-2: 1 file, 17 B would be sent, the rest is there" in out
    shutil.rmtree(fleet.home.projects)
    (one,) = fleet.json("sync", "hello", "--dry-run", "--node", "mac-2")["nodes"]
    assert (one["files"], one["at_most"]) == (2, True), "what mac-2 holds is not known here any more"


def test_names_that_a_terminal_would_obey_are_shown_and_not_obeyed(fleet):
    for name in (b"new\nline", b"\x1b[31mred", b"no-utf-\xff", "smörgås".encode()):
        (fleet.code / os.fsdecode(name)).write_text("")
    out = fleet.infra("sync", "hello", "--dry-run").out
    for words in (r"new\nline", r"\x1b[31mred", r"no-utf-\xff", "smörgås"):
        assert words in out
    assert "\x1b[31m" not in out
    paths = {one["path"] for one in fleet.json("sync", "hello", "--dry-run")["goes"]}
    assert {"new\nline", "\x1b[31mred", r"no-utf-\xff", "smörgås"} <= paths
    assert fleet.json("sync", "hello", "--node", "mac-2")["nodes"][0]["files"] == 6


def test_much_more_than_is_usually_meant_is_warned_of_with_the_folder_it_lies_in(fleet):
    cache = fleet.code / "build" / "cache"
    cache.mkdir(parents=True)
    for number in range(10_000):
        (cache / str(number)).touch()
    done = fleet.infra("sync", "hello", "--dry-run")
    assert "that is a lot" in done.err
    assert "build/cache/ (10,000 files, 0 B)" in done.err
    assert len(done.out.splitlines()) > 10_000
    assert (
        "10,002 files, 21 B of hello go to mac-1, which is a lot" in fleet.infra("sync", "hello", "--node", "mac-1").err
    )
    assert "a lot" not in fleet.infra("sync", "hello", "--node", "mac-1").err, "nothing went"
    said = fleet.json("sync", "hello", "--dry-run")
    assert (said["heavy"], said["largest_folders"][0]["path"]) == (True, "build/cache/")


def test_on_a_terminal_a_bar_is_shown_while_files_go_and_taken_away_after(fleet):
    big = fleet.code / "big"
    big.mkdir()
    for number in range(400):
        (big / str(number)).write_bytes(os.urandom(50_000))
    with Terminal(fleet.home.root, "sync", "hello", "--node", "mac-2", columns=120) as terminal:
        terminal.shows("/402 files")
        assert terminal.ends() == 0
        assert "brought 402 files" in terminal.seen
    assert terminal.seen.rindex("/402 files") < terminal.seen.rindex("brought")


def test_ctrl_c_ends_the_transfer_and_the_next_one_ends_right(fleet):
    (fleet.code / "huge").write_bytes(os.urandom(20 << 20))
    slow = RsyncOnPath(fleet.home.root.parent / "bin").slow(500)
    with Terminal(fleet.home.root, "sync", "hello", "--node", "mac-2", columns=120, PATH=slow.path) as terminal:
        eventually(lambda: fleet.server.commands("rsync", "--server"), 60, "files are on their way")
        fleet.server.freeze()  # so that nothing ends by itself
        try:
            assert fleet.transfers()
            terminal.types("\x03")
            assert terminal.ends() == 130
            assert "Traceback" not in terminal.seen
            assert fleet.transfers() == [], "ssh would notice a silent server later, and nobody waits for that"
        finally:
            fleet.server.thaw()
    eventually(lambda: not fleet.server.commands("rsync"), 30, "nor does its other end")
    assert fleet.trees("mac-2") == []
    assert fleet.json("sync", "hello", "--node", "mac-2")["nodes"][0]["said"] == "brought"
    assert list((fleet.far["mac-2"].projects / "hello" / "releases").glob(".*")) == []


def test_what_nodes_hold_is_listed_with_what_should_be_there_and_is_not(fleet):
    now = fleet.ledger.nodes.now()
    held = HeldRelease("a" * 64, "hello", now - 7200, now - 60, 1234, 5 << 20, in_use=True)
    old = HeldRelease("b" * 64, "hello", now - 90000, now - 80000, 1, 10, in_use=False)
    fleet.ledger.code.publish_releases("mac-2", [old, held])
    fleet.ledger.code.expect("hello", "mac-2", "a" * 64)
    fleet.ledger.code.expect("hello", "mac-3", "a" * 64)
    out = fleet.infra("releases").out
    lines = [line.split() for line in out.splitlines()[1:]]
    assert [(line[0], line[2]) for line in lines] == [("mac-2", "a" * 12), ("mac-2", "b" * 12), ("mac-3", "a" * 12)]
    for words in ("1,234", "5.0 MiB", "2h ago", "current, in use"):
        assert words in out.splitlines()[1]
    assert out.splitlines()[3].endswith("MISSING")
    rows = fleet.json("releases", "--node", "mac-2", "--project", "hello")
    assert [(row["release"][0], row["current"], row["in_use"], row["held"]) for row in rows] == [
        ("a", True, True, True), ("b", False, False, True),
    ]  # fmt: skip
    assert fleet.json("releases", "--node", "mac-3")[0]["held"] is False
    assert fleet.json("releases", "--node", "mac-1") == []


def three_releases(fleet):
    """Bring three releases to mac-1 and mac-2, the last one expected there; all were used an hour ago, oldest first."""
    made = []
    for number in range(3):
        fleet.put("hello.py", f"print({number})\n")
        made.append(fleet.json("sync", "hello", "--node", "mac-1", "--node", "mac-2")["release"])
    for home in (fleet.home, fleet.far["mac-2"]):
        for number, digest in enumerate(made):
            used_at = time.time() - 3600 + number
            os.utime(home.projects / "hello" / "releases" / f"{digest}.lock", (used_at, used_at))
    return made


def test_prune_keeps_what_is_wanted_and_tells_what_goes_before_it_does(fleet):
    first, second, third = three_releases(fleet)
    line = ["release", "prune", "--keep", "0", "--node", "mac-1", "--node", "mac-2"]
    both = [{"node": node, "removed": {"hello": [second, first]}, "error": None} for node in ("mac-1", "mac-2")]
    assert fleet.json(*line, "--dry-run") == both
    assert (
        f"mac-2: would remove 2 releases of hello: {second[:12]}, {first[:12]}" in fleet.infra(*line, "--dry-run").out
    )
    assert fleet.trees("mac-1") == fleet.trees("mac-2") == sorted([first, second, third])
    assert fleet.json(*line) == both
    assert fleet.trees("mac-1") == fleet.trees("mac-2") == [third], "it should be there"
    assert fleet.infra(*line).out.splitlines() == ["mac-1: nothing to remove", "mac-2: nothing to remove"]


def test_prune_is_for_this_node_unless_another_is_named_and_keeps_as_many_as_nodes_json_says(fleet):
    first, second, third = three_releases(fleet)
    assert "nothing to remove" in fleet.infra("release", "prune").out
    fleet.change(limits={"keep_releases": 2})
    assert f"removed 1 release of hello: {first[:12]}" in fleet.infra("release", "prune", "--project", "hello").out
    assert fleet.trees("mac-1") == sorted([second, third])
    assert len(fleet.trees("mac-2")) == 3


def test_prune_leaves_what_something_runs_in_and_what_was_used_just_now(fleet):
    from infra_tasks import releases
    from infra_tasks.releases.layout import Release, Shelf

    first, second, _ = three_releases(fleet)
    fd = releases.hold(Release(Shelf(fleet.home, "hello"), first))
    try:
        used_at = time.time() - 3600
        os.utime(fleet.home.projects / "hello" / "releases" / f"{first}.lock", (used_at, used_at))
        for more in (["--dry-run"], []):
            assert fleet.json("release", "prune", "--keep", "0", *more)[0]["removed"] == {"hello": [second]}
    finally:
        os.close(fd)
    os.utime(fleet.home.projects / "hello" / "releases" / f"{first}.lock")
    assert fleet.json("release", "prune", "--keep", "0")[0]["removed"] == {}


def test_prune_keeps_what_a_waiting_run_needs(fleet):
    from infra_tasks.cli.door import open_fleet
    from infra_tasks.submit import submit

    first, second, _ = three_releases(fleet)
    run_id = submit(fleet.ledger, open_fleet(fleet.home), {"command": ["true"], "project": "hello", "node": "mac-1"})
    fleet.ledger.scripts.client.hset(fleet.ledger.scripts.key("run", run_id), "release", first)
    assert fleet.json("release", "prune", "--keep", "0")[0]["removed"] == {"hello": [second]}


def test_a_node_that_cannot_be_pruned_is_told_and_the_exit_code_is_1(fleet):
    fleet.change_nodes(gone={"ssh": "me@127.0.0.1:1", "root": "/x"})
    done = fleet.infra("release", "prune", "--node", "gone", "--node", "mac-1")
    assert done.code == 1
    assert "gone: FAILED: gone (me@127.0.0.1:1)" in done.out
    assert "mac-1: nothing to remove" in done.out


def test_nothing_is_pruned_while_nobody_knows_what_is_needed(fleet):
    three_releases(fleet)
    fleet.change(broker="redis://127.0.0.1:1/0")
    assert fleet.infra("release", "prune", "--keep", "0").code == 3
    assert len(fleet.trees("mac-1")) == 3


def test_without_anything_to_list_it_is_said(fleet):
    assert "infra sync" in fleet.infra("releases").out
    assert "nothing was brought" in fleet.infra("syncs").out
    assert fleet.json("releases") == fleet.json("syncs") == []
