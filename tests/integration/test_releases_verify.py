"""Before each start the tree is what was recorded: what was done to it is mended, or kept from the run."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import pytest
from yard import Yard, spoil, tree

from infra_tasks import releases
from infra_tasks.errors import ReleaseDamaged
from infra_tasks.releases.supply import LocalCarrier


@pytest.fixture
def yard(tmp_path):
    made = Yard(tmp_path)
    made.write(a="one", sub__b="two", sub__deep__c="three")
    (made.code / "link").symlink_to("a")
    yield made
    made.let_go()


@pytest.fixture
def reads(monkeypatch):
    """Count the files whose content had to be read to judge them."""
    seen = []
    verifying = sys.modules["infra_tasks.releases.verify"]  # the package has the function under this name
    real = verifying.hash_file
    monkeypatch.setattr(verifying, "hash_file", lambda path: seen.append(path) or real(path))
    return seen


def open_up(folder):
    folder.chmod(0o755)
    return folder


def change(path):
    path.chmod(0o644)
    path.write_text("changed by a task")


def same_size_same_mtime(path):
    spoil(path, "0ne")


DAMAGE = {
    "a changed file": lambda root: change(root / "a"),
    "an edit of the same size with its mtime put back": lambda root: same_size_same_mtime(root / "a"),
    "a missing file": lambda root: (open_up(root) / "a").unlink(),
    "a missing folder": lambda root: (open_up(root), open_up(root / "sub"), shutil.rmtree(root / "sub")),
    "an added file": lambda root: (open_up(root) / "extra.py").write_text("import evil"),
    "an added file deep down": lambda root: (open_up(root / "sub/deep") / ".hidden").write_text(""),
    "an added folder with files": lambda root: (
        open_up(root / "sub"),
        (root / "sub/__pycache__/more").mkdir(parents=True),
        (root / "sub/__pycache__/more/x.pyc").write_text(""),
        (root / "sub/__pycache__/y.pyc").write_text(""),
    ),
    "a wrong mode": lambda root: (root / "a").chmod(0o777),
    "a folder that may be written": lambda root: (root / "sub").chmod(0o777),
    "a link that leads elsewhere": lambda root: ((open_up(root) / "link").unlink(), (root / "link").symlink_to("/")),
    "a file in the place of a link": lambda root: (
        (open_up(root) / "link").unlink(),
        (root / "link").write_text("one"),
    ),
    "a link in the place of a file": lambda root: ((open_up(root) / "a").unlink(), (root / "a").symlink_to("sub/b")),
    "a folder in the place of a file": lambda root: (
        (open_up(root) / "a").unlink(),
        (root / "a").mkdir(),
        (root / "a/inner").write_text(""),
    ),
    "a file in the place of a folder": lambda root: (
        open_up(root),
        open_up(root / "sub"),
        shutil.rmtree(root / "sub"),
        (root / "sub").write_text(""),
    ),
    "a link in the place of a folder": lambda root: (
        open_up(root),
        open_up(root / "sub"),
        shutil.rmtree(root / "sub"),
        (root / "sub").symlink_to("/tmp"),
    ),
    "a pipe in the place of a file": lambda root: ((open_up(root) / "a").unlink(), os.mkfifo(root / "a")),
}


@pytest.mark.parametrize("what", DAMAGE)
def test_damage_is_found_and_mended_from_the_source(yard, what):
    release = yard.ensure()
    wanted = tree(release.path)
    DAMAGE[what](release.path)
    assert yard.ensure(release.digest).damaged == ()
    assert tree(release.path) == wanted
    assert {(release.path / path).stat().st_mode & 0o7777 for path in ("", "sub", "sub/deep")} == {0o555}
    assert (release.path / "a").stat().st_mode & 0o7777 == 0o444
    assert [item.name for item in yard.shelf.iterdir() if item.name.startswith(".")] == []


@pytest.mark.parametrize("what", DAMAGE)
def test_damage_in_a_release_that_is_in_use_touches_nothing_and_the_next_run_does_not_see_it(yard, what):
    release = yard.ensure()
    wanted = tree(release.path)
    yard.hold(release)
    DAMAGE[what](release.path)
    damaged = tree(release.path)
    place = releases.take_place(yard.home, "p", release.digest, copy_into=yard.root / "own", source=yard.source)
    yard.holds.append(place.hold_fd)
    assert place.release.damaged
    assert place.cwd == yard.root / "own"
    assert tree(place.cwd) == wanted
    assert tree(release.path) == damaged
    yard.let_go()
    assert yard.ensure(release.digest).damaged == ()
    assert tree(release.path) == wanted


def test_damage_is_named(yard):
    release = yard.ensure()
    yard.hold(release)
    change(release.path / "a")
    (open_up(release.path) / "extra").write_text("")
    (open_up(release.path / "sub") / "b").unlink()
    damaged = releases.verify(release).damaged
    assert {"'a' was changed", "'extra' was added", "'sub/b' is missing"} <= set(damaged)


def test_an_inode_shared_with_another_release_is_replaced_never_written(yard):
    first = yard.ensure()
    yard.write(a="another")
    second = yard.ensure()
    if not (first.path / "sub/b").samefile(second.path / "sub/b"):
        assert copy_on_write(second)  # this disk clones: nothing is shared, nothing to show
        return
    spoil(first.path / "sub/b", "TWO")
    yard.hold(second)
    inode = (second.path / "sub/b").stat().st_ino
    assert yard.ensure(first.digest).damaged == ()
    assert (first.path / "sub/b").read_text() == "two"
    assert (second.path / "sub/b").stat().st_ino == inode
    assert releases.verify(second).damaged == ("'sub/b' was changed",)
    yard.let_go()
    assert releases.verify(second).damaged == ()
    assert (second.path / "sub/b").read_text() == "two"


def copy_on_write(release):
    return release.brought.shared_files


def test_what_a_base_damaged_meanwhile_holds_never_comes_into_a_new_release(yard):
    first = yard.ensure()
    spoil(first.path / "sub/b", "TWO")
    yard.write(a="another")
    second = yard.ensure()
    assert (second.path / "sub/b").read_text() == "two"


def test_a_damaged_release_is_mended_from_another_one_when_the_source_is_gone(yard):
    first = yard.ensure()
    yard.write(a="another")
    yard.ensure()
    (open_up(first.path / "sub") / "b").unlink()
    shutil.rmtree(yard.code)
    assert releases.verify(first).damaged == ()
    assert (first.path / "sub/b").read_text() == "two"


def test_what_cannot_be_mended_is_never_handed_out(yard):
    release = yard.ensure()
    change(release.path / "a")
    with pytest.raises(ReleaseDamaged, match=r"'a' was changed.*cannot be mended"):
        yard.ensure(release.digest, alone=True)
    yard.hold(release)
    with pytest.raises(ReleaseDamaged, match="'a' is nowhere else"):
        releases.take_place(yard.home, "p", release.digest, copy_into=yard.root / "own")


def test_a_wrong_mode_needs_nobody_to_be_mended(yard):
    release = yard.ensure()
    (release.path / "a").chmod(0o777)
    assert yard.ensure(release.digest, alone=True).damaged == ()
    assert (release.path / "a").stat().st_mode & 0o7777 == 0o444


def test_a_touched_file_is_read_once_and_then_known(yard, reads):
    release = yard.ensure()
    os.utime(release.path / "a")
    assert releases.verify(release).damaged == ()
    assert reads == [str(release.path / "a")]
    releases.verify(release)
    assert len(reads) == 1


def test_releases_that_share_inodes_do_not_cost_each_other_a_reading(yard, reads):
    made = []
    for number in range(4):
        yard.write(a=f"{number}")
        made.append(yard.ensure())
        for release in made:
            assert releases.verify(release).damaged == ()
    releases.prune(yard.home, "p", keep=2)
    for release in made[2:]:
        assert releases.verify(release).damaged == ()
    assert reads == []


def test_lost_caches_cost_a_reading_and_nothing_else(yard, reads):
    release = yard.ensure()
    shutil.rmtree(yard.home.projects / "p" / "cache")
    (yard.shelf / f"{release.digest}.seen").unlink()
    assert releases.verify(release).damaged == ()
    assert len(reads) == 3


def test_a_release_whose_builder_died_right_after_the_rename_is_finished_by_the_next(yard):
    release = yard.ensure()
    (yard.shelf / f"{release.digest}.seen").unlink()
    release.path.chmod(0o755)
    assert yard.ensure(release.digest, alone=True).damaged == ()
    assert release.path.stat().st_mode & 0o7777 == 0o555


def test_a_spoiled_manifest_is_not_believed(yard):
    release = yard.ensure()
    manifest = yard.shelf / f"{release.digest}.json"
    manifest.write_text(manifest.read_text().replace('"a"', '"x"'))
    change(release.path / "a")
    with pytest.raises(ReleaseDamaged, match=r"manifest .* is lost"):
        yard.ensure(release.digest, alone=True)
    yard.snapshot()
    assert yard.ensure(release.digest).damaged == ()


def test_a_private_copy_may_be_written_and_shares_no_inode(yard):
    (yard.code / "a").chmod(0o755)
    release = yard.ensure()
    place = releases.take_place(
        yard.home, "p", release.digest, copy_into=yard.root / "own", source=yard.source, private=True
    )
    yard.holds.append(place.hold_fd)
    assert tree(place.cwd) == tree(release.path)
    assert (place.cwd / "a").stat().st_mode & 0o777 == 0o755
    assert not (place.cwd / "a").samefile(release.path / "a")
    (place.cwd / "a").write_text("mine")
    (place.cwd / "sub" / "new").write_text("mine")
    assert releases.verify(release) == release
    again = releases.private_copy(release, yard.root / "second", carrier=LocalCarrier(yard.source))
    assert tree(again) == tree(release.path)


def test_a_task_that_changes_its_release_does_not_change_the_next_run(yard):
    task = "echo evil > a; rm -f sub/b; echo more > extra.py; cat a"
    first = releases.take_place(yard.home, "p", yard.snapshot().digest, copy_into=yard.root / "own", source=yard.source)
    for folder in ("", "sub"):
        (first.cwd / folder).chmod(0o755)
    (first.cwd / "a").chmod(0o644)
    subprocess.run(["/bin/sh", "-c", task], cwd=first.cwd, check=True, capture_output=True)
    os.close(first.hold_fd)
    second = releases.take_place(yard.home, "p", first.release.digest, copy_into=yard.root / "own2", source=yard.source)
    yard.holds.append(second.hold_fd)
    assert second.cwd == first.cwd
    assert tree(second.cwd) == tree(yard.code)
