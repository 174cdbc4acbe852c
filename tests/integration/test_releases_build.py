"""ensure_release: whatever happens on the way, what has a release's name is that release."""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import subprocess
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest
from waiting import eventually
from yard import Yard, content, end, spoil, tree

from infra_tasks import releases
from infra_tasks.errors import NamesCollide, ReleaseDamaged, ReleaseError, SourceChanging, SourceUnreadable
from infra_tasks.releases import build, copying, locks, supply
from infra_tasks.releases.layout import Shelf
from infra_tasks.releases.removing import remove_tree

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount a small disk")


@pytest.fixture
def yard(tmp_path):
    made = Yard(tmp_path)
    made.write(a="one", sub__b="two", sub__deep__c="three")
    (made.code / "tool").write_text("#!/bin/sh\n")
    (made.code / "tool").chmod(0o700)
    (made.code / "link").symlink_to("sub/b")
    yield made
    made.let_go()


def beside(yard):
    return sorted(item.name for item in yard.shelf.iterdir() if item.name.startswith("."))


def test_a_release_is_the_tree_under_its_digest_and_nobody_writes_there(yard):
    taken = yard.snapshot()
    release = yard.ensure(taken.digest)
    assert release.path == yard.shelf / taken.digest
    assert tree(release.path) == tree(yard.code)
    modes = {path: oct((release.path / path).stat().st_mode & 0o7777) for path in ("", "sub", "sub/b", "tool")}
    assert modes == {"": "0o555", "sub": "0o555", "sub/b": "0o444", "tool": "0o555"}
    assert release.brought.files == 4
    assert beside(yard) == []


def test_a_release_that_is_here_needs_no_source(yard):
    release = yard.ensure()
    shutil.rmtree(yard.code)
    again = yard.ensure(release.digest, alone=True)
    assert (again.path, again.brought, again.damaged) == (release.path, None, ())


def test_only_what_no_other_release_here_has_is_brought(yard):
    first = yard.ensure()
    yard.write(a="changed", new="three")
    (yard.code / "sub/b").rename(yard.code / "moved")
    second = yard.ensure()
    assert tree(second.path) == tree(yard.code)
    assert (second.brought.files, second.brought.size_bytes) == (1, len("changed"))
    yard.write(a="one")
    (yard.code / "tool").chmod(0o644)
    third = yard.ensure()
    assert third.brought.files == 0
    assert (third.path / "tool").stat().st_mode & 0o777 == 0o444
    assert (first.path / "tool").stat().st_mode & 0o777 == 0o555


def test_releases_live_side_by_side_and_an_edit_of_the_source_reaches_none_of_them(yard):
    seen = {}
    for number in range(4):
        yard.write(a=f"{number}")
        release = yard.ensure()
        seen[release.path] = content(release.path)
    yard.write(a="edited", sub__b="edited")
    assert len(set(seen.values())) == 4
    assert {path: content(path) for path in seen} == seen


def test_a_branch_switch_takes_files_away_and_brings_others(yard):
    yard.commit_all()
    yard.git("checkout", "-qb", "other")
    yard.git("rm", "-rq", "sub", "link")
    yard.write(only__here="x")
    yard.commit_all()
    other = yard.ensure()
    yard.git("checkout", "-q", "-")
    back = yard.ensure()
    assert set(tree(other.path)) == {"a", "tool", "only/here"}
    assert set(tree(back.path)) == {"a", "tool", "link", "sub/b", "sub/deep/c"}


def test_an_edit_between_snapshot_and_copy_is_noticed_and_a_new_snapshot_cures_it(yard):
    taken = yard.snapshot()
    yard.write(a="ONE")
    with pytest.raises(SourceChanging, match=r"'a'.*take a new one"):
        yard.ensure(taken.digest)
    assert beside(yard) == []
    assert (yard.ensure().path / "a").read_text() == "ONE"


def test_an_edit_in_the_middle_of_a_copy_is_noticed(yard, monkeypatch):
    place = yard.put("big", b"x" * 3_000_000)
    taken = yard.snapshot()
    real = copying.read_through

    def edit_and_read(fd, size, also=None):
        def also_edit(piece):
            with place.open("r+b") as file:
                file.seek(2_999_999)
                file.write(b"y")
            also(piece)

        return real(fd, size, also_edit)

    monkeypatch.setattr(copying, "read_through", edit_and_read)
    with pytest.raises(SourceChanging, match="'big'"):
        yard.ensure(taken.digest)
    assert not (yard.shelf / taken.digest).exists()


def test_a_file_deleted_after_the_snapshot_and_a_vanished_source_are_two_different_errors(yard):
    taken = yard.snapshot()
    (yard.code / "a").unlink()
    with pytest.raises(SourceChanging, match="'a'"):
        yard.ensure(taken.digest)
    shutil.rmtree(yard.code)
    with pytest.raises(SourceUnreadable, match="not there any more"):
        yard.ensure(taken.digest)


def test_a_digest_nobody_knows_is_refused_and_says_what_to_do(yard):
    with pytest.raises(SourceChanging, match="moved on"):
        yard.ensure("0" * 64)
    with pytest.raises(ReleaseDamaged, match="dispatch again"):
        yard.ensure("0" * 64, alone=True)
    with pytest.raises(ReleaseError, match="not the digest"):
        yard.ensure("../../etc")
    with pytest.raises(ReleaseError, match="cannot be the name"):
        releases.ensure_release(yard.home, "..", "0" * 64)


def test_the_digest_of_the_source_as_it_is_needs_no_snapshot_before(yard):
    digest = yard.snapshot().digest
    shutil.rmtree(yard.home.root)
    assert yard.ensure(digest).path.is_dir()


def test_names_the_disk_cannot_tell_apart_are_refused_and_named(yard, monkeypatch):
    yard.write(A="ONE")
    assert build.blind_to(yard.root) == (False, False)
    assert yard.ensure()
    # The tests' disk sees the difference; a Mac's does not. Only its answer is put in place here.
    monkeypatch.setattr(build, "blind_to", lambda folder: (True, True))
    yard.write(more="")
    with pytest.raises(NamesCollide, match=r"'A' and 'a'.*rename"):
        yard.ensure()


SLOW = """
from infra_tasks.releases import build, ensure_release
from infra_tasks.releases.supply import LocalCarrier
class Slow(LocalCarrier):
    def bring(self, entries, tree):
        half = len(entries) // 2
        super().bring(entries[:half], tree)
        print("half", flush=True)
        input()
        super().bring(entries[half:], tree)
        return {entry.path for entry in entries}
digest = yard.snapshot().digest
release = ensure_release(yard.home, "p", digest, carrier=Slow(yard.source))
print("built" if release.brought else "found", flush=True)
"""


def test_a_builder_killed_half_way_leaves_nothing_that_counts(yard):
    builder = yard.python(SLOW, stdin=subprocess.PIPE)
    try:
        assert builder.stdout.readline() == "half\n"
        assert len(beside(yard)) == 1
        builder.send_signal(signal.SIGKILL)
        builder.wait()
        digest = yard.snapshot().digest
        assert not (yard.shelf / digest).exists()
        assert tree(yard.ensure(digest).path) == tree(yard.code)
        assert beside(yard) == []
    finally:
        end(builder)


def test_what_a_dead_builder_of_another_release_left_is_cleaned_and_a_living_one_is_not(yard):
    dead = yard.python(SLOW, stdin=subprocess.PIPE)
    try:
        assert dead.stdout.readline() == "half\n"
    finally:
        end(dead)
    yard.write(a="for the living")
    living = yard.python(SLOW, stdin=subprocess.PIPE)
    try:
        assert living.stdout.readline() == "half\n"
        kept = f".building-{yard.snapshot().digest}"
        assert len(beside(yard)) <= 2
        yard.write(a="for us")
        assert yard.ensure()
        assert [name.rpartition("-")[0] for name in beside(yard)] == [kept]
    finally:
        end(living)


def test_of_two_builders_of_one_release_one_builds_and_the_other_waits(yard):
    first = yard.python(SLOW, stdin=subprocess.PIPE)
    second = None
    try:
        assert first.stdout.readline() == "half\n"
        second = yard.python(SLOW, stdin=subprocess.PIPE)
        work = yard.shelf / f"{yard.snapshot().digest}.work"
        eventually(lambda: waits_for(second.pid, work) or second.poll() is not None, said="the second waits")
        assert second.poll() is None
        assert first.communicate("\n", timeout=180)[0] == "built\n"
        assert second.communicate("\n", timeout=180)[0] == "found\n"
    finally:
        end(first)
        if second:
            end(second)


def waits_for(pid, path):
    if not Path("/proc/locks").exists():
        return True  # a Mac does not say who waits: the answer of the second builder must do
    with Path("/proc/locks").open() as locks:
        return any("->" in line and f" {pid} " in line and f":{path.stat().st_ino} " in line for line in locks)


def test_a_lock_on_a_file_that_was_removed_meanwhile_is_no_lock(yard, monkeypatch):
    place = yard.root / "lock"
    real = locks.fcntl.flock

    def remove_and_lock(fd, how):
        monkeypatch.setattr(locks.fcntl, "flock", real)
        place.unlink()
        real(fd, how)

    monkeypatch.setattr(locks.fcntl, "flock", remove_and_lock)
    with locks.held(place) as fd:
        assert os.path.samestat(os.fstat(fd), place.stat())
        with locks.held(place, locks.EXCLUSIVE | locks.AT_ONCE) as other:
            assert other is None


def test_files_of_one_release_never_share_an_inode(yard):
    yard.ensure()
    yard.write(copy="one", copy2="one")
    release = yard.ensure()
    assert release.brought.files == 0
    assert len({(release.path / name).stat().st_ino for name in ("a", "copy", "copy2")}) == 3


def test_many_builders_of_many_releases_at_once_end_right(yard):
    code = """
import sys, random
from infra_tasks.releases import prune, ensure_release, hold, Source, snapshot, verify
import os
for number in range(6):
    mine = Source(Path(sys.argv[1]))
    (mine.path / "mine").write_text(str(random.randrange(4)))
    taken = snapshot(yard.home, "p", mine)
    release = ensure_release(yard.home, "p", taken.digest, source=mine)
    assert not release.damaged
    prune(yard.home, "p", keep=2)
print("fine")
"""
    racers = []
    for number in range(3):
        copy = yard.root / f"copy{number}"
        shutil.copytree(yard.code, copy, symlinks=True)
        racers.append(yard.python(code.replace("sys.argv[1]", repr(str(copy)))))
    try:
        for racer in racers:
            out, err = racer.communicate(timeout=180)
            assert (out, err) == ("fine\n", "")
    finally:
        for racer in racers:
            end(racer)
    assert beside(yard) == []


@pytest.fixture
def small_disk(tmp_path):
    place = tmp_path / "home"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "none", str(place)], check=True)
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


@needs_root
def test_a_full_disk_is_said_and_leaves_nothing_half(small_disk, yard):
    yard.put("big", os.urandom(3_000_000))
    with pytest.raises(ReleaseError, match=r"No space left on device.*prune"):
        yard.ensure()
    assert beside(yard) == []
    (yard.code / "big").unlink()
    assert yard.ensure().path.is_dir()


@needs_root
def test_a_root_that_cannot_be_written_is_said(small_disk, yard):
    digest = yard.snapshot().digest
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    with pytest.raises(ReleaseError, match=r"Read-only file system.*INFRA_HOME"):
        yard.ensure(digest)


def test_what_a_carrier_did_not_check_is_read_again(yard):
    class Liar(supply.LocalCarrier):
        def bring(self, entries, tree):
            super().bring(entries, tree)
            place = tree / "a"
            place.chmod(0o644)
            place.write_text("lie")
            return set()

    taken = yard.snapshot()
    with pytest.raises(ReleaseDamaged, match="'a' did not arrive as it was sent"):
        releases.ensure_release(yard.home, "p", taken.digest, carrier=Liar(yard.source))
    assert not (yard.shelf / taken.digest).exists()


@pytest.fixture
def at_the_end_of_a_build(monkeypatch):
    """Have something done to the tree that is built, right before it is looked at for the last time."""

    real = build.known.tick_over

    def do(what):
        def meanwhile(folder, ctime_ns):
            real(folder, ctime_ns)
            for tree_ in folder.glob(".building-*"):
                what(tree_)

        monkeypatch.setattr(build.known, "tick_over", meanwhile)

    return do


def test_a_tree_that_is_changed_while_it_is_built_gets_no_name(yard, at_the_end_of_a_build):
    at_the_end_of_a_build(lambda tree_: spoil(tree_ / "a", "0ne"))
    with pytest.raises(ReleaseDamaged, match="'a' was changed while"):
        yard.ensure()
    at_the_end_of_a_build(lambda tree_: (tree_ / "extra").write_text(""))
    yard.write(a="new")
    with pytest.raises(ReleaseDamaged, match="added to the release"):
        yard.ensure()
    assert [item for item in yard.shelf.iterdir() if item.is_dir()] == []


def test_a_link_somebody_makes_to_a_shared_file_meanwhile_is_no_change(yard, at_the_end_of_a_build):
    at_the_end_of_a_build(lambda tree_: (yard.root / "other-name").hardlink_to(tree_ / "a"))
    release = yard.ensure()
    assert tree(release.path) == tree(yard.code)
    assert yard.ensure(release.digest, alone=True).damaged == ()


def test_prune_keeps_the_ones_used_last_and_whatever_is_held(yard):
    made = []
    for number in range(6):
        yard.write(a=f"{number}")
        made.append(yard.ensure())
        os.utime(yard.shelf / f"{made[-1].digest}.lock", (number, number))
    yard.hold(made[0])
    os.utime(yard.shelf / f"{made[0].digest}.lock", (0, 0))
    yard.ensure(made[1].digest, alone=True)
    assert set(releases.prune(yard.home, "p", keep=2)) == {made[n].digest for n in (2, 3, 4)}
    left = {item.name for item in yard.shelf.iterdir() if item.is_dir()}
    assert left == {made[n].digest for n in (0, 1, 5)}
    assert beside(yard) == []
    for number in (0, 1, 5):
        assert (yard.ensure(made[number].digest, alone=True).path / "a").read_text() == f"{number}"
    with pytest.raises(ReleaseDamaged, match="removed in between"):
        releases.hold(made[2])
    yard.write(a="3")
    assert yard.ensure(made[3].digest).brought


def killed_when_it_removes_the_tree(yard, digest):
    """Prune in a process that dies when the tree has lost its name and is about to be deleted."""
    dead = yard.python("""
import os, signal, sys
from infra_tasks import releases
die = lambda: os.kill(os.getpid(), signal.SIGKILL)
sys.modules["infra_tasks.releases.prune"].remove_tree = lambda _, tree: tree.exists() and die()
releases.prune(yard.home, "p", keep=0)
""")
    dead.communicate(timeout=180)
    assert dead.returncode == -signal.SIGKILL
    assert beside(yard) == [f".removing-{digest}"]


def test_a_prune_killed_half_way_leaves_nothing_that_counts_and_the_next_ones_end_right(yard, tmp_path):
    release = yard.ensure()
    releases.run_setup(release, "touch made")
    for _ in range(2):
        killed_when_it_removes_the_tree(yard, release.digest)
        again = yard.ensure(release.digest)
        assert tree(again.path) == tree(yard.code)
        assert releases.run_setup(again, "touch made") == again
        assert (again.path / "made").exists(), "a setup of the tree that is gone was taken for one of this"
    assert releases.prune(yard.home, "p", keep=0) == [release.digest]
    assert not list(yard.shelf.iterdir())


def test_a_tree_somebody_deleted_by_hand_is_set_up_again(yard):
    release = yard.ensure()
    releases.run_setup(release, "touch made")
    shutil.rmtree(release.path)
    again = yard.ensure(release.digest)
    releases.run_setup(again, "touch made")
    assert (again.path / "made").exists()


def test_an_old_manifest_stays_while_its_release_is_built_and_goes_when_nobody_comes(yard, monkeypatch):
    digest = yard.snapshot().digest
    manifest = yard.shelf / f"{digest}.json"

    def grow_old():
        for path in yard.shelf.glob(f"{digest}.*"):
            os.utime(path, (1, 1))

    bring = supply.LocalCarrier.bring

    def pruned_meanwhile(self, entries, tree_):
        grow_old()
        releases.prune(yard.home, "p")
        assert manifest.exists()
        return bring(self, entries, tree_)

    monkeypatch.setattr(supply.LocalCarrier, "bring", pruned_meanwhile)
    assert yard.ensure(digest).brought
    assert releases.prune(yard.home, "p", keep=0) == [digest]
    assert yard.snapshot().digest == digest
    releases.prune(yard.home, "p")
    assert manifest.exists()
    grow_old()
    releases.prune(yard.home, "p")
    assert not list(yard.shelf.iterdir())


def test_many_files_are_verified_in_about_the_time_of_a_walk(tmp_path):
    yard = Yard(tmp_path)
    for number in range(4_000):
        if number % 20 == 0:
            (yard.code / f"d{number // 20}").mkdir(parents=True)
        (yard.code / f"d{number // 20}" / f"f{number}").write_text(str(number))
    release = yard.ensure()

    def walk(folder):
        for item in os.scandir(folder):
            item.stat(follow_symlinks=False)
            if item.is_dir(follow_symlinks=False):
                walk(item.path)

    def seconds(what):
        began = time.process_time()
        what()
        return time.process_time() - began

    ratios = [seconds(lambda: releases.verify(release)) / seconds(lambda: walk(release.path)) for _ in range(9)]
    # 1.5 is the figure of the benchmark on a quiet machine; what reads the files again costs ten times as much.
    assert min(ratios) < 5


def test_a_tree_somebody_still_writes_to_is_removed_all_the_same(yard):
    """An rsync goes on for a while when the builder it was called for was killed."""
    shelf = Shelf(yard.home, "p")
    shelf.releases.mkdir(parents=True)
    tree = shelf.building("a" * 64)
    for folder in range(20):
        (tree / f"d{folder}").mkdir(parents=True)
        for number in range(20):
            (tree / f"d{folder}" / f"{number}").write_text("x")
    top, over = os.open(tree, os.O_RDONLY), threading.Event()

    def write():
        for number in itertools.count():
            if over.is_set():
                return
            folder = f"d{number % 20}"
            with suppress(OSError):
                os.close(os.open(f"{folder}/.{number}", os.O_CREAT | os.O_WRONLY, dir_fd=top))
                os.rename(f"{folder}/.{number}", f"{folder}/new{number}", src_dir_fd=top, dst_dir_fd=top)

    writers = [threading.Thread(target=write) for _ in range(2)]
    for writer in writers:
        writer.start()
    try:
        remove_tree(shelf, tree)
    finally:
        over.set()
        for writer in writers:
            writer.join()
        os.close(top)
    assert not tree.exists()
