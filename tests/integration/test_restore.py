"""Backups are put back whole or not at all, and only those that are whole and of this node."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import tarfile
from contextlib import contextmanager
from pathlib import Path

import pytest
import zstandard
from backup_bed import NOW, Bed, bed_at, beside, mounted, small_disk, tree, unpacked
from cli_process import Terminal, environment

from infra_tasks.backup import moves
from infra_tasks.backup.archive import Archive
from infra_tasks.backup.restore import restoring
from infra_tasks.backup.save import save
from infra_tasks.errors import AlreadyRunning, BackupFailed, BadBackup, BadInput
from infra_tasks.live import Token, enter
from infra_tasks.model.backup import FORMAT, LEDGER, MANIFEST
from infra_tasks.node import this_node
from infra_tasks.settings import Home


@pytest.fixture
def bed(tmp_path):
    yield from bed_at(tmp_path / "home")


@pytest.fixture(scope="module")
def taken(tmp_path_factory):
    """A backup, the node it is of (down), and what it is made of."""
    folder = tmp_path_factory.mktemp("taken")
    made = Bed(folder / "home")
    made.accepts("true")
    file = made.backup(folder / "b.tar.zst")
    made.close()
    return made, file


def test_what_is_put_back_is_in_safe_mode_each_time_and_the_old_state_is_kept_aside(bed, tmp_path):
    first = bed.accepts("true")
    bed.ledger.claims.renew(patience_s=5, node="n1", uuid="u", live=[], longest_s=60)
    file = bed.backup(tmp_path / "b")
    second = bed.accepts("true")
    (bed.home.root / "nodes.json").write_text((bed.home.root / "nodes.json").read_text() + "\n")
    for _ in range(2):
        bed.redis.kill()
        restored = bed.restore(file)
        bed.redis.start()
        assert bed.ledger.claims.sweep("n1")["said"] == "safe"
        assert bed.safe == ["n1"]
        assert (bed.ledger.runs.get(first).state, bed.ledger.runs.get(second)) == ("QUEUED", None)
        assert restored.aside
        assert {"redis", "nodes.json", "node.json", "secrets"} <= set(beside(restored.aside))
        assert not bed.home.restoring_json.exists()
        assert not (bed.home.root / ".restore").exists()
    asides = sorted(bed.home.root.glob("before-restore-*"))
    assert len(asides) == 2
    assert (asides[0] / "nodes.json").read_text().endswith("}\n\n")
    assert bed.home.nodes_json.read_text().endswith("}\n")


@contextmanager
def elsewhere(tmp_path, home):
    """A copy of a node that may be spoiled."""
    root = tmp_path / "copy"
    shutil.copytree(home.root, root)
    yield Home(root)


def rewritten(file, to, change, manifest=lambda said: said):
    """An archive with other members: `change` gives (name, bytes, kind) of each of them."""
    with tarfile.open(fileobj=io.BytesIO(unpacked(file))) as tar:
        found = [(info.name, tar.extractfile(info).read(), tarfile.REGTYPE) for info in tar]
    text = json.dumps(manifest(json.loads(found[0][1]))).encode()
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w", format=tarfile.PAX_FORMAT) as new:
        for name, data, kind in [(MANIFEST, text, tarfile.REGTYPE), *change(found[1:])]:
            info = tarfile.TarInfo(name)
            info.size, info.type, info.linkname = (len(data) if kind == tarfile.REGTYPE else 0), kind, "/etc/passwd"
            new.addfile(info, io.BytesIO(data))
    to.write_bytes(zstandard.ZstdCompressor(write_checksum=True).compress(raw.getvalue()))
    return to


def same(members):
    return members


def evil(name, kind=tarfile.REGTYPE):
    def add(said):
        member = {"name": name, "size_bytes": 4, "sha256": hashlib.sha256(b"evil").hexdigest()}
        return {**said, "members": [*said["members"], member]}

    return (lambda members: [*members, (name, b"evil", kind)]), add


def flipped(members):
    return [(name, data[:-9] + b"x" + data[-8:] if name == LEDGER else data, kind) for name, data, kind in members]


SPOILED = {
    "cut in the manifest": lambda file, to: to.write_bytes(file.read_bytes()[:100]),
    "cut in the middle": lambda file, to: to.write_bytes(file.read_bytes()[: file.stat().st_size // 2]),
    "empty": lambda file, to: to.write_bytes(b""),
    "a text": lambda file, to: to.write_text("hello"),
    "a tar that is not packed": lambda file, to: to.write_bytes(unpacked(file)),
    "a bit flipped": lambda file, to: to.write_bytes(
        bytes(byte ^ (64 if at == file.stat().st_size // 2 else 0) for at, byte in enumerate(file.read_bytes()))
    ),
    "its checksum cut": lambda file, to: to.write_bytes(file.read_bytes()[:-4] + b"1234"),
    "a wrong digest": lambda file, to: rewritten(file, to, flipped),
    "a member is missing": lambda file, to: rewritten(file, to, lambda members: members[:-1]),
    "a member too many": lambda file, to: rewritten(file, to, lambda members: [*members, members[-1]]),
    "a member nobody named": lambda file, to: rewritten(
        file, to, lambda members: [*members, ("ssh/x", b"x", tarfile.REGTYPE)]
    ),
    "a newer format": lambda file, to: rewritten(file, to, same, lambda said: {**said, "format": FORMAT + 1}),
    "no manifest": lambda file, to: rewritten(file, to, same, lambda said: []),
    "a way out": lambda file, to: rewritten(file, to, *evil("../out")),
    "a way out by its folder": lambda file, to: rewritten(file, to, *evil("ssh/../../out")),
    "an absolute name": lambda file, to: rewritten(file, to, *evil("/tmp/out")),
    "a link": lambda file, to: rewritten(file, to, *evil("ssh/known_hosts", tarfile.SYMTYPE)),
    "another node": lambda file, to: rewritten(file, to, same, lambda said: {**said, "uuid": "another"}),
    "another fleet": lambda file, to: rewritten(file, to, same, lambda said: {**said, "fleet": "another"}),
}


@pytest.mark.parametrize("spoil", SPOILED.values(), ids=list(SPOILED))
def test_what_is_no_whole_backup_of_this_node_is_refused_and_nothing_is_changed(taken, tmp_path, spoil):
    bed, file = taken
    bad = tmp_path / "bad.tar.zst"
    spoil(file, bad)
    before = tree(bed.home.root)
    with pytest.raises(BadBackup) as refused:
        bed.restore(bad)
    assert refused.value.exit_code == 2
    assert len(str(refused.value)) < 600
    assert tree(bed.home.root) == before
    assert beside(tmp_path) == ["bad.tar.zst"]


def test_every_cut_of_a_backup_is_noticed(taken, tmp_path):
    _, file = taken
    whole, cut = file.read_bytes(), tmp_path / "cut"
    for length in range(0, len(whole) - 300, 97):
        cut.write_bytes(whole[:length])
        with pytest.raises(BadBackup) as refused:
            Archive(cut).verify(lambda _: None)
        found = f"it is cut off: it ends after {length:,} bytes, in the middle" if length else "it is empty (0 bytes)"
        assert str(refused.value).startswith(f"{cut} cannot be used: {found}.\nNothing was changed. Copy it again")


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        ("a text", "it begins with b'hell', as no backup does: it is another file, or damaged."),
        ("a bit flipped", "it is damaged, within its first "),
        ("its checksum cut", "it is damaged, within its first "),
        ("a wrong digest", f"the digest of {LEDGER} is not the one its manifest says."),
    ],
)
def test_what_is_wrong_with_a_backup_is_said_in_words(taken, tmp_path, spoil, said):
    bed, file = taken
    bad = tmp_path / "bad.tar.zst"
    SPOILED[spoil](file, bad)
    with pytest.raises(BadBackup) as refused:
        bed.restore(bad)
    assert f" cannot be used: {said}" in str(refused.value)
    assert "or an older backup" in str(refused.value)


def test_refusals_have_the_one_shape_of_errors(taken, tmp_path):
    bed, file = taken
    bad = tmp_path / "bad"
    bad.write_bytes(file.read_bytes()[:-900])
    done = bed.infra("restore", str(bad))
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith(f"error: {bad} cannot be used: ")
    assert "Nothing was changed" in done.err
    told = json.loads(bed.infra("restore", str(bad), "--json").err)["error"]
    assert (told["kind"], told["exit_code"]) == ("BadBackup", 2)
    gone = bed.infra("restore", str(tmp_path / "gone"))
    assert (gone.code, "is not there" in gone.err) == (2, True)


def test_a_folder_that_is_not_empty_and_no_node_is_left_alone(taken, tmp_path):
    _, file = taken
    root = tmp_path / "documents"
    root.mkdir()
    (root / "letter").write_text("dear")
    with pytest.raises(BadBackup, match=r"not empty .it has letter"), restoring(Home(root), file, lambda _: None):
        pass
    assert (beside(root), (root / "letter").read_text()) == (["letter"], "dear")


def test_a_bad_file_undoes_a_half_restore_all_the_same_and_makes_no_folder(taken, tmp_path):
    bed, file = taken
    with elsewhere(tmp_path, bed.home) as home:
        before = tree(home.root)
        killed = subprocess.run([sys.executable, "-c", DIES, str(file), "3"], env=environment(home.root), check=False)
        assert (killed.returncode, home.restoring_json.exists()) == (-signal.SIGKILL, True)
        with pytest.raises(BadInput), restoring(home, tmp_path / "gone", lambda _: None):
            pass
        assert tree(home.root) == before
    with pytest.raises(BadInput), restoring(Home(tmp_path / "new"), tmp_path / "gone", lambda _: None):
        pass
    assert not (tmp_path / "new").exists()


def test_into_an_empty_folder_it_comes_whole_also_where_the_fleets_nodes_json_lies_already(taken, tmp_path):
    bed, file = taken
    for root in (tmp_path / "none", tmp_path / "empty", tmp_path / "has"):
        if root.name != "none":
            root.mkdir()
        if root.name == "has":
            shutil.copy(bed.home.nodes_json, root)
        with restoring(Home(root), file, lambda _: None) as restoration:
            restored = restoration.put(NOW, lambda _: None)
        assert (restored.aside is None) == (root.name != "has")
        assert Home(root).node_json.read_bytes() == bed.home.node_json.read_bytes()
        assert (root / "redis" / "appendonly.aof").read_bytes().startswith(b"REDIS")
        assert json.loads(Home(root).restored_json.read_text())["made_at"] == restored.manifest.made_at
        assert stat.S_IMODE((root / "secrets" / "redis.password").stat().st_mode) == 0o600


def test_while_a_watcher_or_a_role_lives_nothing_is_put_back(bed, tmp_path):
    from infra_tasks.runner.clock import process_started

    file = bed.backup(tmp_path / "b")
    bed.redis.kill()
    bed.home.roles.mkdir(parents=True)
    (bed.home.roles / "worker.lock").write_text(
        json.dumps({"pid": os.getpid(), "started": process_started(os.getpid())})
    )
    with pytest.raises(AlreadyRunning, match=r"worker of .* still lives"):
        bed.restore(file)
    (bed.home.roles / "worker.lock").unlink()
    with restoring(bed.home, file, lambda _: None):
        done = bed.infra("restore", str(file))
        assert (done.code, "infra down --keep" in done.err) == (1, True)
        up = bed.infra("up", "--detach")
        assert up.code == 1, up.err
    assert bed.restore(file).aside


def test_a_restore_that_is_killed_at_any_step_is_undone_by_the_next_one(taken, tmp_path):
    bed, file = taken
    with elsewhere(tmp_path, bed.home) as home:
        steps = 0
        while True:
            before = tree(home.root)
            killed = subprocess.run(
                [sys.executable, "-c", DIES, str(file), str(steps)], env=environment(home.root), check=False
            )
            if killed.returncode == 0:
                break
            assert killed.returncode == -signal.SIGKILL
            steps += 1
            if home.restoring_json.exists():
                assert moves.undo(home)
            shutil.rmtree(home.root / ".restore", ignore_errors=True)
            assert tree(home.root) == before
        assert steps > 6


def test_every_folder_something_was_moved_into_is_on_the_disk_before_the_node_may_start(bed, tmp_path, monkeypatch):
    ended = bed.takes(bed.accepts("true"))
    (ended.folder.folder / "exit.json").write_text("{}")
    enter(bed.home, Token(ended.id, 1, ended.claim))
    file = bed.backup(tmp_path / "b")
    bed.redis.kill()
    of_run = bed.home.attempt(ended.id, 1).parent
    shutil.rmtree(of_run)
    synced, real = [], moves.sync_folder

    def noted(folder):
        synced.append((Path(folder), bed.home.restoring_json.exists()))
        real(folder)

    monkeypatch.setattr(moves, "sync_folder", noted)
    aside = bed.restore(file).aside
    assert ended.folder.exit_record() == {}
    folders = [of_run, bed.home.runs, bed.home.root]
    assert [folder for folder in (*folders, aside) if (folder, True) not in synced] == []
    at = [synced.index((folder, True)) for folder in folders]
    assert at == sorted(at), "what is in a folder before the folder itself"
    assert synced[-1] == (bed.home.root, False)


def test_a_nodes_json_that_does_not_hold_here_is_put_back_and_said(bed, tmp_path):
    me = this_node(bed.home)
    raw = json.loads(bed.home.nodes_json.read_text())
    bed.home.nodes_json.write_text(json.dumps({**raw, "of_another_version": 1}))
    file = save(me, tmp_path / "b", None, actor="somebody", tell=lambda _: None).path
    with restoring(Home(tmp_path / "new"), file, lambda _: None) as restoration:
        restored = restoration.put(NOW, lambda _: None)
    assert "of_another_version" in restored.notes[0]
    assert Home(tmp_path / "new").nodes_json.read_bytes() == bed.home.nodes_json.read_bytes()


def test_a_restore_that_is_interrupted_half_way_leaves_the_folder_as_it_was(taken, tmp_path):
    bed, file = taken
    with elsewhere(tmp_path, bed.home) as home:
        before = tree(home.root)
        words = [sys.executable, "-c", DIES, str(file), "3", "SIGINT"]
        done = subprocess.run(words, env=environment(home.root), check=False)
        assert done.returncode not in (0, -signal.SIGKILL)
        assert not home.restoring_json.exists()
        assert tree(home.root) == before


DIES = """
import os, signal, sys
from infra_tasks.backup import moves
from infra_tasks.cli.entry import run

left, move = [int(sys.argv[2])], moves._move

def dying(path, to):
    if left[0] == 0:
        os.kill(os.getpid(), signal.Signals[sys.argv[3]] if sys.argv[3:] else signal.SIGKILL)
    left[0] -= 1
    move(path, to)

moves._move = dying
sys.exit(run(["restore", sys.argv[1]]))
"""


@small_disk
def test_on_a_full_disk_nothing_is_changed(taken, tmp_path):
    bed, file = taken
    disk = tmp_path / "disk"
    disk.mkdir()
    with mounted(disk, "1m"):
        shutil.copytree(bed.home.root, disk / "home")
        room = os.statvfs(disk)
        (disk / "ballast").write_bytes(b"x" * (room.f_bavail * room.f_frsize - 8192))
        before = tree(disk / "home")
        with (
            pytest.raises(BackupFailed, match="No space left"),
            restoring(Home(disk / "home"), file, lambda _: None) as restoration,
        ):
            restoration.put(NOW, lambda _: None)
        assert tree(disk / "home") == before
        (disk / "ballast").unlink()
        with restoring(Home(disk / "home"), file, lambda _: None) as restoration:
            assert restoration.put(NOW, lambda _: None).aside


@small_disk
def test_where_the_folder_of_redis_is_a_disk_of_its_own_nothing_is_changed(taken, tmp_path):
    bed, file = taken
    with elsewhere(tmp_path, bed.home) as home, mounted(home.redis, "16m"):
        (home.redis / "mine").write_text("here")
        before = tree(home.root)
        with pytest.raises(BackupFailed, match=r"redis: .*is as it was"), restoring(home, file, lambda _: None) as one:
            one.put(NOW, lambda _: None)
        assert tree(home.root) == before


def test_a_person_is_asked_before_anything_is_put_back(taken, tmp_path):
    bed, file = taken
    before = tree(bed.home.root)
    with Terminal(bed.home.root, "restore", str(file)) as terminal:
        terminal.shows("back to")
        terminal.types("n\r")
        terminal.shows("nothing was changed")
        assert terminal.ends() == 1
    assert tree(bed.home.root) == before
