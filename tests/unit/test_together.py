"""What several threads want at once is done once, and nobody is given what is older than his question."""

from __future__ import annotations

import hashlib
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from waiting import eventually

from infra_tasks.errors import SourceChanging
from infra_tasks.model.manifest import Entry
from infra_tasks.releases import together
from infra_tasks.releases.together import Together, shared_pack


@pytest.fixture
def pool():
    with ThreadPoolExecutor(8) as made:
        yield made


class Slow:
    """Something that takes until it is let go on, and says its how manyth time it was."""

    def __init__(self):
        self.begun = 0
        self.go_on = threading.Event()

    def __call__(self):
        self.begun += 1
        number = self.begun
        assert self.go_on.wait(180)
        return number


def test_who_asks_while_it_is_done_waits_for_the_next_time_and_all_who_do_share_that(pool):
    snapshots, slow = Together(), Slow()
    first = pool.submit(snapshots.do, "p", slow)
    eventually(lambda: slow.begun, 60, "the first one has begun")
    others = [pool.submit(snapshots.do, "p", slow) for _ in range(5)]
    eventually(lambda: snapshots._next, 60, "the next time is asked for")
    eventually(lambda: len(snapshots._next["p"]._condition._waiters) == 4, said="all others wait for that")
    elsewhere = pool.submit(snapshots.do, "q", lambda: "another one waits for nobody")
    assert elsewhere.result(180)
    assert slow.begun == 1
    slow.go_on.set()
    assert first.result(180) == 1
    assert [each.result(180) for each in others] == [2] * 5
    assert snapshots.do("p", lambda: "and again") == "and again"
    assert not snapshots._next
    assert not snapshots._under_way


def test_an_error_is_told_to_all_who_waited_and_to_nobody_after_them(pool):
    snapshots, slow = Together(), Slow()
    first = pool.submit(snapshots.do, "p", slow)
    eventually(lambda: slow.begun, 60, "the first one has begun")

    def fail():
        raise SourceChanging("it never holds still")

    others = [pool.submit(snapshots.do, "p", fail) for _ in range(5)]
    slow.go_on.set()
    assert first.result(180) == 1
    for each in others:
        with pytest.raises(SourceChanging):
            each.result(180)
    assert snapshots.do("p", lambda: 7) == 7


@pytest.fixture
def tree(tmp_path):
    """A tree of one file, its entry, and a folder for packs."""
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "a").write_bytes(b"one")
    (tmp_path / "packs").mkdir()
    entry = Entry("a", "file", 0o644, 3, hashlib.sha256(b"one").hexdigest())
    return tmp_path / "tree", [entry], tmp_path / "packs"


def test_a_pack_is_there_until_the_last_one_lets_go_of_it(tree):
    source, entries, folder = tree
    with shared_pack(source, entries, 3, folder) as outer:
        with shared_pack(source, entries, 3, folder) as inner, shared_pack(source, entries, 4, folder) as other:
            assert inner == outer != other
        assert (outer.name, outer.read_bytes()) == ("3", b"one")
        assert not other.exists()
    assert not list(folder.iterdir())
    (source / "a").write_bytes(b"two")
    with shared_pack(source, entries, 3, folder) as again:
        assert again.read_bytes() == b"two"  # nothing old is kept; the far end sees that it is not what was asked for


def test_when_a_pack_cannot_be_made_each_one_tries_for_itself_and_is_told_why(tree, pool, monkeypatch):
    source, entries, folder = tree
    (source / "a").unlink()
    tries, go_on = [], threading.Event()
    real = together.pack

    def pack(*what):
        tries.append(what)
        assert go_on.wait(180)
        real(*what)

    monkeypatch.setattr(together, "pack", pack)

    def use():
        with shared_pack(source, entries, 0, folder):
            pytest.fail("there is nothing to pack")

    users = [pool.submit(use) for _ in range(4)]
    eventually(lambda: tries, 60, "one of them tries")
    go_on.set()
    for each in users:
        with pytest.raises(SourceChanging):
            each.result(180)
    assert not list(folder.iterdir())
    assert not together._packs
