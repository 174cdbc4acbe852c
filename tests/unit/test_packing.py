"""Small files go in packs: what goes in which, and that nothing but what was asked for comes out."""

from __future__ import annotations

import hashlib
import io
import os
import stat
import threading

import pytest
from waiting import eventually

from infra_tasks.errors import NotAsSent, SourceChanging, SourceUnreadable
from infra_tasks.model.manifest import Entry
from infra_tasks.releases import arriving, known, packing
from infra_tasks.releases.arriving import Arriving
from infra_tasks.releases.reading import closing_fd, open_folder
from infra_tasks.releases.unpacking import Unpacking, beside


def entry(path, content=b"", *, mode=0o644):
    return Entry(path, "file", mode, len(content), hashlib.sha256(content).hexdigest())


@pytest.fixture
def tree(tmp_path):
    """A tree of three files, and their entries."""
    made = tmp_path / "tree"
    (made / "sub").mkdir(parents=True)
    (made / "a").write_bytes(b"one")
    (made / "sub" / "empty").touch()
    (made / "sub" / "run").write_bytes(b"#!")
    return made, [entry("a", b"one"), entry("sub/empty"), entry("sub/run", b"#!", mode=0o755)]


@pytest.fixture
def grows(tmp_path):
    """A tree in which something is about to be built."""
    made = tmp_path / "grows"
    (made / "sub").mkdir(parents=True)
    return made


def unpacked(content, entries, into):
    with closing_fd(open_folder(into)) as top:
        return packing.unpack(io.BytesIO(content).read, entries, top)


def test_a_few_files_go_one_by_one_and_of_many_the_large_ones():
    few = [entry(str(number)) for number in range(packing.MANY - 1)]
    assert packing.plan(few, 100) == ([], few)
    large = Entry("large", "file", 0o644, packing.SMALL_BYTES + 1, "0" * 64)
    small = [*few, entry("one more")]
    assert packing.plan([large, *small], 100) == ([small], [large])


@pytest.mark.parametrize("pack_bytes", [1, 99, 5000, 1 << 30])
def test_every_small_file_is_in_one_pack_and_no_pack_is_larger_than_it_may_be(pack_bytes):
    files = [Entry(f"{number}", "file", 0o644, number, "0" * 64) for number in range(packing.MANY + 7)]
    packs, loose = packing.plan(files, pack_bytes)
    assert ([one for pack in packs for one in pack], loose) == (files, [])
    assert all(len(pack) == 1 or sum(one.size for one in pack) <= pack_bytes for pack in packs)
    assert all(packs)


@pytest.mark.parametrize("umask", [0o022, 0o077, 0o777])
def test_what_comes_out_is_what_went_in_and_sealed(tree, grows, tmp_path, umask):
    made, entries = tree
    packing.pack(made, entries, tmp_path / "0")
    before = os.umask(umask)
    try:
        rows = unpacked((tmp_path / "0").read_bytes(), entries, grows)
    finally:
        os.umask(before)
    assert [(grows / one.path).read_bytes() for one in entries] == [b"one", b"", b"#!"]
    assert [stat.S_IMODE((grows / one.path).stat().st_mode) for one in entries] == [0o444, 0o444, 0o555]
    for path, row in rows.items():
        seen = (grows / path).stat()
        assert row == (path, seen.st_mode, seen.st_ino, seen.st_size, seen.st_mtime_ns, seen.st_ctime_ns)


@pytest.mark.parametrize("then", ["longer", "shorter", "gone", "a folder", "a link", "a pipe"])
def test_a_file_that_is_another_one_by_now_is_not_packed(tree, tmp_path, then):
    made, entries = tree
    place = made / "a"
    place.unlink()
    {
        "longer": lambda: place.write_bytes(b"longer"),
        "shorter": lambda: place.write_bytes(b"o"),
        "gone": lambda: None,
        "a folder": place.mkdir,
        "a link": lambda: place.symlink_to("sub/run"),
        "a pipe": lambda: os.mkfifo(place),
    }[then]()
    with pytest.raises(SourceChanging, match=r"'a'.* is not what it was"):
        packing.pack(made, entries, tmp_path / "0")


def test_a_tree_that_is_gone_is_said(tree, tmp_path):
    with pytest.raises(SourceUnreadable, match="cannot be read"):
        packing.pack(tmp_path / "gone", tree[1], tmp_path / "0")


@pytest.mark.parametrize("content", [b"ONE#!", b"one#?", b"one#", b"one", b""])
def test_a_pack_with_anything_else_in_it_is_refused(tree, grows, content):
    with pytest.raises(NotAsSent):
        unpacked(content, tree[1], grows)


def test_a_name_that_is_taken_is_never_written_to(tree, grows):
    (grows / "a").symlink_to("elsewhere")
    with pytest.raises(FileExistsError):
        unpacked(b"one#!", tree[1], grows)
    assert not (grows / "elsewhere").exists()


def test_files_are_made_of_what_is_there_of_a_pack_before_it_is_whole(tree, grows):
    entries = tree[1]
    with Unpacking(grows, [entries]) as unpacking:
        growing = beside(grows) / ".0.Ab3xYz"
        with growing.open("wb", buffering=0) as file:
            file.write(b"one#")
            eventually((grows / "sub" / "empty").exists, 60, "the first two are made")
            assert not (grows / "sub" / "run").exists()
            file.write(b"!")
        growing.rename(beside(grows) / "0")
    assert set(unpacking.rows) == {one.path for one in entries}
    assert (grows / "sub" / "run").read_bytes() == b"#!"
    assert not beside(grows).exists()


@pytest.mark.parametrize("comes", [b"", b"one#", b"ONE#!", None])
def test_a_pack_that_did_not_come_as_it_was_sent_is_said_and_nothing_of_it_stays_beside(tree, grows, comes):
    def carried():
        with Unpacking(grows, [tree[1]]):
            if comes is not None:
                (beside(grows) / "0").write_bytes(comes)

    with pytest.raises(NotAsSent):
        carried()
    assert not beside(grows).exists()


def test_an_error_of_who_carries_is_told_as_it_is(tree, grows):
    error = OSError("cut off")

    def carried():
        with Unpacking(grows, [tree[1]]):
            (beside(grows) / ".0.Ab3xYz").write_bytes(b"one")
            raise error

    with pytest.raises(OSError, match="cut off") as raised:
        carried()
    assert raised.value is error
    assert not beside(grows).exists()


def test_a_file_that_changes_while_it_is_read_on_arrival_is_told_of_as_it_was_before(tree, monkeypatch):
    made, entries = tree
    (made / "a").chmod(0o444)
    before = (made / "a").stat()
    known.tick_over(made.parent, before.st_ctime_ns)
    begun, changed = threading.Event(), threading.Event()
    real = arriving.seal

    def seal_while_it_changes(path, *more):
        found = real(path, *more)
        if path == "a":
            begun.set()
            assert changed.wait(180)
        return found

    monkeypatch.setattr(arriving, "MANY", 1)
    monkeypatch.setattr(arriving, "seal", seal_while_it_changes)
    with Arriving(made, entries) as come:
        assert begun.wait(180)
        (made / "a").chmod(0o644)
        (made / "a").write_bytes(b"two")
        (made / "a").chmod(0o444)
        changed.set()
        eventually(lambda: len(come.rows) == 3, 60, "all have been read")
    now = (made / "a").stat()
    assert come.rows["a"].ctime_ns == before.st_ctime_ns != now.st_ctime_ns
