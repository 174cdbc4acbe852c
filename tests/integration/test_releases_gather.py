"""A release is linked and brought at the same time; whatever one of the two meets, the other has ended."""

from __future__ import annotations

import errno
import os
import threading

import pytest
from yard import Yard, spoil, tree

from infra_tasks import releases
from infra_tasks.errors import ReleaseDamaged, ReleaseError, SourceChanging
from infra_tasks.releases import building, known
from infra_tasks.releases.layout import Shelf
from infra_tasks.releases.supply import LocalCarrier
from infra_tasks.releases.walk import row


@pytest.fixture
def yard(tmp_path):
    made = Yard(tmp_path)
    made.write(a="one", sub__b="two", sub__deep__c="three")
    yield made
    made.let_go()


class Porter(LocalCarrier):
    """Notes what it is asked for; `first` is done before."""

    def __init__(self, yard, first=lambda: None, *, checked=True):
        super().__init__(yard.source)
        self.asked = []
        self.ended = 0
        self._first = first
        self._checked = checked

    def bring(self, entries, tree):
        self.asked.append([entry.path for entry in entries])
        try:
            self._first()
            found = super().bring(entries, tree)
            return found if self._checked else set()
        finally:
            self.ended += 1


def ensure(yard, carrier):
    return releases.ensure_release(yard.home, "p", yard.snapshot().digest, carrier=carrier)


@pytest.fixture
def linking(monkeypatch):
    """Have something done before each link; this disk is told to be one that cannot clone."""

    def do(what):
        real = os.link

        def do_and_link(*args, **more):
            what()
            return real(*args, **more)

        monkeypatch.setattr(building.os, "link", do_and_link)

    monkeypatch.setattr(building, "clone", lambda *_: False)
    return do


def test_what_is_missing_is_brought_while_the_rest_is_linked(yard, linking):
    ensure(yard, Porter(yard))
    yard.write(a="changed")
    brings, links = threading.Event(), threading.Event()

    def first():
        brings.set()
        assert links.wait(180)

    def meanwhile():
        assert brings.wait(180)
        links.set()

    linking(meanwhile)
    porter = Porter(yard, first)
    release = ensure(yard, porter)
    assert porter.asked == [["a"]]
    assert (release.brought.files, release.brought.shared_files) == (1, 2)
    assert tree(release.path) == tree(yard.code)


def test_an_error_on_the_way_is_told_as_it_is_and_nothing_is_left(yard, linking):
    ensure(yard, Porter(yard))
    yard.write(a="changed")
    told = threading.Event()
    error = SourceChanging("it moved on")

    def first():
        told.set()
        raise error

    linking(lambda: told.wait(180))
    with pytest.raises(SourceChanging) as raised:
        ensure(yard, Porter(yard, first))
    assert raised.value is error
    assert not list(yard.shelf.glob(".*"))


def test_a_link_that_fails_waits_for_who_brings_before_the_tree_is_removed(yard, linking):
    ensure(yard, Porter(yard))
    yard.write(a="changed")
    failed = threading.Event()

    def fail():
        failed.set()
        raise OSError(errno.ENOSPC, "No space left on device")

    linking(fail)
    porter = Porter(yard, lambda: failed.wait(180))
    with pytest.raises(ReleaseError, match="No space left"):
        ensure(yard, porter)
    assert (porter.asked, porter.ended) == ([["a"]], 1)
    assert not list(yard.shelf.glob(".*"))


def test_what_a_base_cannot_give_after_all_is_brought_in_the_end(yard):
    first = ensure(yard, Porter(yard))
    spoil(first.path / "sub/b", "TWO")
    yard.write(a="changed")
    porter = Porter(yard)
    release = ensure(yard, porter)
    assert porter.asked == [["a"], ["sub/b"]]
    assert (release.brought.files, release.brought.size_bytes, release.brought.shared_files) == (2, 10, 1)
    assert tree(release.path) == tree(yard.code)


def test_a_base_that_is_pruned_meanwhile_gives_nothing_and_all_is_brought(yard, monkeypatch):
    first = ensure(yard, Porter(yard))
    yard.write(a="changed")
    real = building.diff

    def prune_and_diff(base, wanted):
        if first.path.exists():
            first.path.rename(yard.root / "gone")
        return real(base, wanted)

    monkeypatch.setattr(building, "diff", prune_and_diff)
    porter = Porter(yard)
    assert tree(ensure(yard, porter).path) == tree(yard.code)
    assert porter.asked == [["a"], ["sub/b", "sub/deep/c"]]


def test_a_file_that_is_changed_right_before_it_is_linked_is_not_taken(yard, linking):
    first = ensure(yard, Porter(yard))
    yard.write(a="changed")
    place = first.path / "sub/b"
    seen = place.stat()

    def edit():
        place.chmod(0o644)
        place.write_text("other")
        place.chmod(seen.st_mode & 0o7777)

    linking(edit)
    release = ensure(yard, Porter(yard))
    assert (release.path / "sub/b").read_text() == "two"


@pytest.mark.parametrize("files", [3, 300])
def test_what_was_not_checked_on_the_way_is_read_and_sealed_by_one_or_by_several(yard, files):
    for number in range(files):
        yard.put(f"many/{number}", f"{number}")
    release = ensure(yard, Porter(yard, checked=False))
    assert tree(release.path) == tree(yard.code)
    assert {place.stat().st_mode & 0o7777 for place in (release.path / "many").iterdir()} == {0o444}
    assert releases.verify(release).damaged == ()


@pytest.mark.parametrize("files", [3, 300])
@pytest.mark.parametrize("what", ["another content", "a link"])
def test_one_wrong_file_among_those_that_arrived_is_found(yard, files, what):
    for number in range(files):
        yard.put(f"many/{number}", f"{number}")

    class Liar(Porter):
        def bring(self, entries, tree):
            super().bring(entries, tree)
            place = tree / f"many/{files - 1}"
            place.unlink()
            if what == "a link":
                place.symlink_to("0")
            else:
                place.write_text("lie")
            return set()

    with pytest.raises(ReleaseError, match=f"many/{files - 1}") as raised:
        ensure(yard, Liar(yard))
    assert isinstance(raised.value, ReleaseDamaged) or what == "a link"
    assert not list(yard.shelf.glob(".*"))


def test_what_somebody_else_noted_of_inodes_meanwhile_is_not_lost(yard):
    shelf = Shelf(yard.home, "p")
    known.note(shelf, {1: (1, 1, 1, "one")})
    mine, other = known.load_version(shelf), known.load_version(shelf)
    known.note(shelf, {2: (2, 2, 2, "two")}, loaded=other)
    known.note(shelf, {3: (3, 3, 3, "three")}, loaded=mine)
    assert set(known.load(shelf)) == {1, 2, 3}


def test_a_file_that_changes_right_after_it_was_checked_on_the_way_gets_the_release_no_name(yard):
    class Unpacks(Porter):
        def bring(self, entries, tree):
            super().bring(entries, tree)
            rows = {entry.path: row(tree, entry.path) for entry in entries}
            known.tick_over(tree.parent, max(one.ctime_ns for one in rows.values()))
            spoil(tree / "sub/b", "TWO")
            return rows

    with pytest.raises(ReleaseDamaged, match="'sub/b' was changed while the release was built"):
        ensure(yard, Unpacks(yard))
    assert not list(yard.shelf.glob("[.0-9a-f]*/"))
