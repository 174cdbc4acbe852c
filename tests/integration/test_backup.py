"""Backups of a node with a real Redis of its own: whole or not there, and what is in them."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from backup_bed import NOW, Bed, bed_at, beside, mounted, small_disk, tree, unpacked
from cli_process import environment

from infra_tasks.backup.archive import Archive
from infra_tasks.errors import BackupFailed
from infra_tasks.history.archive import Archive as History
from infra_tasks.ledger.history import Past
from infra_tasks.live import Token, enter
from infra_tasks.model.backup import LEDGER, MANIFEST


@pytest.fixture
def bed(tmp_path):
    yield from bed_at(tmp_path / "home")


def test_a_backup_is_one_file_for_its_owner_alone_and_holds_what_the_node_is(bed, tmp_path):
    run = bed.accepts("true")
    (bed.home.root / "secrets.json").write_text('{"api": "tell nobody"}')
    (bed.home.root / "secrets.json").chmod(0o600)
    (bed.home.root / "ssh").mkdir()
    (bed.home.root / "ssh" / "known_hosts").write_text("mac-2 ssh-ed25519 AAAA\n")
    (bed.home.root / "projects").mkdir()
    (bed.home.root / "projects" / "big").write_text("code is not in it")
    History(bed.home).add([Past(bed.ledger.runs.get(run), [])])
    out = tmp_path / "out"
    out.mkdir()
    bed.ledger.scripts.client.bgrewriteaof()  # what Redis is at is waited for
    said = bed.json("backup", str(out))
    (name,) = beside(out)
    assert said["file"] == str(out / name)
    assert stat.S_IMODE((out / name).stat().st_mode) == 0o600
    assert (said["node"], said["ledger"]["runs"], said["ledger_at"]) == ("n1", {"QUEUED": 1}, None)
    members = {member.name: b"".join(pieces) for member, pieces in Archive(out / name).each()}
    assert {LEDGER, "node.json", "nodes.json", "secrets.json", "secrets/redis.password", "ssh/known_hosts"} < set(
        members
    )
    assert [one for one in members if one.startswith("archive/")]
    assert not [one for one in members if one.startswith(("projects", "redis"))]
    assert b"tell nobody" in members["secrets.json"]
    assert members[LEDGER].startswith(b"REDIS")
    assert not (bed.home.redis / "dump.rdb").exists()
    listed = subprocess.run(["tar", "-tf", "-"], input=unpacked(out / name), capture_output=True, check=True).stdout
    assert listed.decode().splitlines()[:2] == [MANIFEST, LEDGER]


def test_a_name_that_is_there_a_folder_that_is_not_and_a_place_nobody_may_write_to_are_refused_and_nothing_is_left(
    bed, tmp_path
):
    (tmp_path / "there").write_text("mine")
    before = beside(tmp_path)
    for place, said, code in [
        (tmp_path / "there", "is there already", 2),
        (tmp_path / "nowhere" / "b", "is no folder", 2),
        (Path("/proc/b.tar.zst"), "could not be written: /proc/", 1),
    ]:
        done = bed.infra("backup", str(place))
        assert (done.code, done.out) == (code, ""), done.err
        assert done.err.startswith("error: ")
        assert said in done.err
    assert (tmp_path / "there").read_text() == "mine"
    assert beside(tmp_path) == before
    assert not (bed.home.root / ".backup.json").exists()


def test_a_backup_that_is_killed_leaves_no_file_with_its_name_and_nothing_after_the_next_one(bed, tmp_path):
    out, other = tmp_path / "out", tmp_path / "other"
    out.mkdir()
    other.mkdir()
    for where in ("'infra_tasks.backup.save.write'", "'infra_tasks.backup.save._name'"):
        killed = subprocess.run(
            [sys.executable, "-c", KILLED.replace("WHERE", where), str(out / "b.tar.zst")],
            env=environment(bed.home.root),
            check=False,
        )
        assert killed.returncode == -signal.SIGKILL
        assert beside(out) == [".b.tar.zst.part"]
    bed.backup(other)
    assert beside(out) == []
    assert len(beside(other)) == 1
    assert not [
        path
        for path in bed.home.root.rglob("*")
        if (path.suffix in {".rdb", ".part"} or path.name == ".backup.json")
        and path.parent.name != "appendonlydir"  # Redis 7 keeps the base of its AOF in there
    ]


KILLED = """
import importlib, os, signal, sys
from infra_tasks.cli.entry import run
import infra_tasks.backup.save
module, _, name = WHERE.rpartition(".")
setattr(importlib.import_module(module), name, lambda *a, **b: os.kill(os.getpid(), signal.SIGKILL))
run(["backup", sys.argv[1]])
"""


def test_a_backup_is_one_moment_though_runs_are_accepted_all_the_time(bed, tmp_path):
    code = (
        "import sys\nfrom infra_tasks import run_spec\n"
        "while True:\n    run_spec.delay({'command': ['true']})\n    print('one', flush=True)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], env=environment(bed.home.root), stdout=subprocess.PIPE) as busy:
        assert busy.stdout
        try:
            for _ in range(20):
                assert busy.stdout.readline()
            said = bed.json("backup", str(tmp_path / "b"))
            for _ in range(5):
                assert busy.stdout.readline()
        finally:
            busy.kill()
    bed.redis.kill()
    bed.restore(tmp_path / "b")
    bed.redis.start()
    sums = bed.ledger.auditing.sums()
    counted = said["ledger"]["submitted"]
    assert counted >= 20
    assert (sums.totals["submitted"], sums.counts["QUEUED"], sums.cards["ids"]) == (counted, counted, counted)
    assert said["ledger"]["runs"] == {"QUEUED": counted}


def test_ends_that_the_copy_may_not_know_are_in_it_and_those_it_knows_are_not(bed, tmp_path):
    long_ago, just_now, unreported, running = (bed.takes(bed.accepts("true")) for _ in range(4))
    for one in (long_ago, just_now, unreported):
        (one.folder.folder / "exit.json").write_text("{}")
    for one in (unreported, running):
        enter(bed.home, Token(one.id, 1, one.claim))
    for one in (long_ago, just_now):
        one.folder.note_report()
    os.utime(long_ago.folder.folder / "reported", (NOW, NOW))
    file = bed.backup(tmp_path / "b")
    names = {member.name for member in Archive(file).manifest().members}
    assert {name.split("/")[1] for name in names if name.startswith("runs/")} == {just_now.id, unreported.id}
    assert {name for name in names if name.startswith("live/")} == {f"live/{unreported.id}@1"}

    bed.redis.kill()
    shutil.rmtree(bed.home.attempt(unreported.id, 1).parent)  # what is gone comes back, what is there stays
    (bed.home.live / f"{unreported.id}@1").unlink()
    (just_now.folder.folder / "exit.json").write_text('{"newer": true}')
    bed.restore(file)
    assert unreported.folder.exit_record() == {}
    assert (bed.home.live / f"{unreported.id}@1").read_text() == unreported.claim
    assert just_now.folder.exit_record() == {"newer": True}


@small_disk
def test_a_copy_that_might_fill_the_disk_of_redis_is_not_begun(tmp_path):
    root = tmp_path / "home"
    (root / "redis").mkdir(parents=True)
    with mounted(root / "redis", "48m"):
        bed = Bed(root)
        try:
            done = bed.infra("backup", str(tmp_path / "b"))
            assert (done.code, "Make room there" in done.err) == (1, True), done.err
            assert not (tmp_path / "b").exists()
            assert not list(bed.home.redis.glob("*.rdb"))
            bed.accepts("true")
        finally:
            bed.close()


@small_disk
def test_a_backup_for_which_there_is_no_room_says_so_and_leaves_nothing(bed, tmp_path):
    bed.accepts("true", env={"X": secrets.token_hex(20_000)})
    disk = tmp_path / "disk"
    disk.mkdir()
    with mounted(disk, "16k"):
        done = bed.infra("backup", str(disk))
        assert (done.code, "No space left" in done.err) == (1, True), done.err
        assert beside(disk) == []
        assert not (bed.home.redis / "dump.rdb").exists()


def test_a_redis_that_refuses_to_begin_a_copy_is_not_waited_for(bed, tmp_path):
    bed.ledger.scripts.client.execute_command("ACL", "SETUSER", "default", "-bgsave")
    with pytest.raises(BackupFailed, match="does not begin a copy"):
        bed.ledger.saving.begin("n1", "somebody", "nonce")
    done = bed.infra("backup", str(tmp_path / "b"))
    assert (done.code, "does not begin a copy" in done.err) == (1, True), done.err
    assert beside(tmp_path) == ["home"]


def test_a_node_that_is_half_restored_is_not_backed_up(bed, tmp_path):
    bed.home.restoring_json.write_text("{}")
    done = bed.infra("backup", str(tmp_path / "b"))
    assert (done.code, "infra restore FILE" in done.err) == (1, True), done.err
    assert beside(tmp_path) == ["home"]


def test_with_a_redis_of_ones_own_the_backup_says_that_the_ledger_is_not_in_it(bed, tmp_path):
    raw = json.loads(bed.home.nodes_json.read_text())
    bed.home.nodes_json.write_text(json.dumps({**raw, "broker": bed.redis.url}))
    bed.home.nodes_json.chmod(0o600)
    done = bed.infra("backup", str(tmp_path / "b"))
    assert done.code == 0, done.err
    assert "the ledger is NOT in it" in done.err
    assert bed.redis.password not in done.err + done.out
    said = bed.json("backup", str(tmp_path / "c"))
    assert (said["ledger"], bed.redis.password in said["ledger_at"]) == (None, False)
    before = tree(bed.home.redis)
    bed.redis.kill()
    assert LEDGER not in [member.name for member in Archive(tmp_path / "b").manifest().members]
    bed.restore(tmp_path / "b")
    assert tree(bed.home.redis) == before
