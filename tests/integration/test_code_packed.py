"""Many small files go to another node in packs; edited, cut off or spoilt on the way, what arrives is right."""

from __future__ import annotations

import os
import stat
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from far_node import FarNode
from rsync_options import wrong_options
from waiting import eventually
from yard import tree

from infra_tasks.errors import ReleaseError, SourceChanging
from infra_tasks.releases import packing, together
from infra_tasks.releases.remote import push as pushing
from infra_tasks.releases.remote import sending
from infra_tasks.releases.together import shared_pack

FILES = packing.MANY + 10


@pytest.fixture(autouse=True)
def many(yard):
    """A project of many small files in several folders, and a large one."""
    for number in range(FILES):
        yard.put(f"many/{number % 7}/{number}", f"content {number}" * (number % 5))
    yard.put("large", os.urandom(packing.SMALL_BYTES + 1))


def sent(rsync):
    """Return what each rsync was to send from where, as far as it stands on the command line."""
    assert not any(wrong_options(line) for line in rsync.lines())
    return [line[-2].rstrip("/").rpartition("/")[2].partition("-")[0] for line in rsync.lines()]


def left(yard):
    """Return what a push leaves here that is no manifest."""
    return list(yard.shelf.glob(".*"))


def test_they_arrive_as_they_were_in_one_pack_and_the_large_one_by_itself(far, yard, rsync):
    yard.put("many/0/run", "#!/bin/sh\n").chmod(0o700)
    taken = yard.snapshot()
    brought = far.push(taken).brought
    assert brought.files == FILES + 6
    assert tree(far.tree(taken)) == tree(yard.code)
    assert stat.S_IMODE((far.tree(taken) / "many/0/run").stat().st_mode) == 0o555
    assert {stat.S_IMODE(one.stat().st_mode) for one in far.tree(taken).glob("many/1/*")} == {0o444}
    assert sent(rsync) == [".packs", "source"]
    assert far.half_built() == left(yard) == []
    assert far.push(taken).held


def test_who_watches_is_told_of_one_pack_after_the_other(far, yard, monkeypatch):
    monkeypatch.setattr(pushing, "WATCHED_PACK_BYTES", 1000)
    told = []
    taken = yard.snapshot()
    far.push(taken, progress=told.append)
    assert tree(far.tree(taken)) == tree(yard.code)
    everything = (FILES + 5, taken.manifest.size_bytes - len("sub/b"))
    assert (told[0].files, told[0].size_bytes) == (0, 0)
    assert {(one.files_all, one.size_bytes_all) for one in told} == {everything}
    assert (told[-1].files, told[-1].size_bytes) == everything
    assert [one.files for one in told] == sorted(one.files for one in told)
    assert len(told) > 10


def test_an_edit_before_a_file_is_packed_is_noticed_and_one_after_it_does_not_go(far, yard, rsync):
    taken = yard.snapshot()
    yard.put("many/1/1", "CONTENT 1")
    with pytest.raises(SourceChanging, match=r"'many/1/1'.*edited while it was sent"):
        far.push(taken)
    assert far.trees() == far.half_built() == left(yard) == []
    taken = yard.snapshot()
    rsync.does(f"printf other > {yard.code}/many/1/1", once=True)
    assert far.push(taken).brought
    assert (far.tree(taken) / "many/1/1").read_text() == "CONTENT 1"


def test_a_file_of_another_size_is_noticed_before_anything_is_sent(far, yard, rsync):
    taken = yard.snapshot()
    yard.put("many/1/1", "longer than it was")
    with pytest.raises(SourceChanging, match="'many/1/1'"):
        far.push(taken)
    assert sent(rsync) == []
    assert far.trees() == far.half_built() == left(yard) == []


def test_a_pack_that_is_spoilt_on_its_way_is_noticed_and_nothing_of_it_stays(far, yard, rsync):
    taken = yard.snapshot()
    rsync.does(
        f"for pack in {yard.shelf}/.packs-*/0; do printf X | dd of=$pack bs=1 seek=99 conv=notrunc; done", once=True
    )
    with pytest.raises(SourceChanging, match="did not arrive as it was sent"):
        far.push(taken)
    assert far.trees() == far.half_built() == left(yard) == []
    assert far.push(taken).brought
    assert tree(far.tree(taken)) == tree(yard.code)


def test_kill_9_of_the_rsync_of_a_pack_half_way_is_begun_anew_and_goes_through(far, yard, rsync):
    for number in range(40):
        yard.put(f"many/{number % 7}/heavy{number}", os.urandom(40_000))
    rsync.slow(300)
    done = threading.Event()

    def kill():
        eventually(lambda: list(far.shelf.glob(".building-*-packs/.0.*")) or done.is_set(), 60, "a pack is half way")
        rsync.kill()
        rsync.does()

    killer = threading.Thread(target=kill)
    killer.start()
    try:
        deployed = far.deploy()
    finally:
        done.set()
        killer.join()
    assert deployed.said == "brought"
    assert sent(rsync) == [".packs", ".packs", "source"]
    assert tree(far.shelf / deployed.digest) == tree(yard.code)
    assert far.half_built() == left(yard) == []


def test_of_several_packs_one_that_cannot_go_stops_the_others(far, yard, rsync, monkeypatch):
    monkeypatch.setattr(pushing, "PACK_BYTES", 100)
    rsync.does("echo 'No space left on device' >&2; exit 11")
    with pytest.raises(ReleaseError, match="disk is full"):
        far.push()
    assert 0 < len(sent(rsync)) <= 4
    assert far.trees() == far.half_built() == left(yard) == []


def test_one_release_to_several_nodes_at_once_is_packed_once(far, yard, server, tmp_path, monkeypatch):
    packed = []
    real = together.pack
    all_ask = threading.Barrier(3, timeout=180)

    def pack(*what):
        packed.append(what)
        real(*what)

    def shared(*what):
        all_ask.wait()
        return shared_pack(*what)

    monkeypatch.setattr(together, "pack", pack)
    monkeypatch.setattr(sending, "shared_pack", shared)
    nodes = [far, *(FarNode(yard, tmp_path / f"far{number}", server) for number in (2, 3))]
    taken = yard.snapshot()
    with ThreadPoolExecutor(3) as pool:
        assert all(pushed.brought for pushed in pool.map(lambda node: node.push(taken), nodes))
    assert 1 <= len(packed) < 3
    assert all(tree(node.tree(taken)) == tree(yard.code) for node in nodes)
    assert left(yard) == []
    for node in nodes[1:]:
        node.lines.close()


def test_a_small_change_goes_in_a_message_and_is_checked_like_everything_else(far, yard, rsync):
    far.push()
    before = len(rsync.lines())
    yard.put("many/0/0", "another content\n\0\xff")
    yard.put("many/new folder/a file", "nobody has this")
    yard.put("many/0/7", "#!/bin/sh\necho of nobody\n").chmod(0o755)
    taken, told = yard.snapshot(), []
    brought = far.push(taken, progress=told.append).brought
    assert (brought.files, told[-1].files, told[-1].files_all) == (3, 3, 3)
    assert tree(far.tree(taken)) == tree(yard.code)
    assert stat.S_IMODE((far.tree(taken) / "many/0/7").stat().st_mode) == 0o555
    assert len(rsync.lines()) == before, "no rsync was needed"
    assert far.half_built() == left(yard) == []


def test_what_is_much_does_not_go_in_a_message(far, yard, rsync):
    far.push()
    before = len(rsync.lines())
    yard.put("many/0/0", os.urandom(packing.LITTLE_BYTES + 1))
    taken = yard.snapshot()
    assert far.push(taken).brought.files == 1
    assert tree(far.tree(taken)) == tree(yard.code)
    assert len(rsync.lines()) == before + 1


@pytest.mark.parametrize("now", ["CONTENT 1", "longer than it was", None])
def test_a_small_change_that_is_edited_before_it_goes_is_noticed(far, yard, now):
    far.push()
    yard.put("many/1/1", "content!!")
    taken = yard.snapshot()
    yard.put("many/1/1", now) if now else (yard.code / "many/1/1").unlink()
    with pytest.raises(SourceChanging, match="'many/1/1'"):
        far.push(taken)
    assert len(far.trees()) == 1
    assert far.half_built() == left(yard) == []
    taken = yard.snapshot()
    far.push(taken)
    assert tree(far.tree(taken)) == tree(yard.code)
