"""A release on its way to another node over a real ssh: it arrives exactly as it was, or is refused in plain words."""

from __future__ import annotations

import os
import shutil
import unicodedata
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest
from far_node import FarNode
from ssh_server import SshServer
from yard import Yard, tree

from infra_tasks.errors import NamesCollide, SourceUnreadable
from infra_tasks.releases import ensure_release
from infra_tasks.releases.remote import connecting
from infra_tasks.releases.remote import line as line_module
from infra_tasks.releases.remote.pull import PullCarrier

NFC, NFD = (unicodedata.normalize(form, "caf\u00e9") for form in ("NFC", "NFD"))
STRANGE = [
    "with space", " begins and ends ",
    "it's", 'say "so"', "-rf", "--delete", "#comment", ";semicolon", "co:lon", "a:b/c:d",
    "*", "?", "[a]", "back\\slash",
    "$HOME", "`id`", "$(id)", "~", "~root", "%C", "!bang", "&", "|", "tab\there", "\\#012",
    NFC, NFD,
    "case", "CASE", "Case/x", "cAse/x", "\u65e5\u672c\u8a9e", "\U0001f600", os.fsdecode(b"no utf-8 \xff\xfe"),
    "n" * 255, "/".join("d" * 50 for _ in range(20)), ".hidden", "...", ".git-not", "end.", "-/-", "#/#", "new/-f/x",
]  # fmt: skip
BREAKS = ["new\nline", "\nfirst", "last\n", "carriage\rreturn", "two\n\nlines/\n/x"]


def modes(folder):
    """Path -> whether it is executable, of all files."""
    found = {}
    for top, _, files in os.walk(folder):
        for name in files:
            place = Path(top) / name
            if not place.is_symlink():
                found[str(place.relative_to(folder))] = bool(place.stat().st_mode & 0o100)
    return found


def put_all(yard, names):
    """Make a file of each name this disk can hold and tell from the others; return how many."""
    count = 0
    for name in names:
        with suppress(OSError):
            if not os.path.lexists(yard.code / name):
                yard.put(name, f"{count}")
                count += 1
    assert count >= len(names) - 6
    return count


def assert_arrived(far, taken):
    there = far.tree(taken)
    assert tree(there) == tree(far.yard.code)
    assert modes(there) == modes(far.yard.code)
    assert far.half_built() == []


def test_a_release_arrives_as_it_was_and_is_held_from_then_on(far, yard):
    taken = yard.snapshot()
    sent = far.push(taken)
    assert (sent.held, sent.brought.files) == (False, 4)
    assert_arrived(far, taken)
    assert {oct(item.stat().st_mode & 0o777) for item in far.tree(taken).rglob("*")} == {"0o555", "0o444"}
    assert far.push(taken).held


@pytest.mark.parametrize("breaks", [False, True], ids=["in lines", "with line breaks"])
def test_names_of_every_kind_arrive_as_they_are(far, yard, breaks, rsync):
    put = put_all(yard, [*STRANGE, *(BREAKS if breaks else [])])
    taken = yard.snapshot()
    assert far.push(taken).brought.files == 4 + put
    assert_arrived(far, taken)
    assert any("--from0" in line for line in rsync.lines()) == breaks


def test_the_same_names_can_be_fetched_from_there(far, yard, tmp_path):
    put_all(yard, [*STRANGE, *BREAKS])
    taken = yard.snapshot()
    far.push(taken)
    other = Yard(tmp_path / "third")
    shutil.copytree(yard.home.root / "ssh", other.home.root / "ssh")
    with PullCarrier(other.home, lambda: far.lines, "p", taken.digest, lambda: [far.peer]) as carrier:
        fetched = ensure_release(other.home, "p", taken.digest, carrier=carrier)
        assert carrier.fetched_from == "n2"
    assert tree(fetched.path) == tree(yard.code)
    assert modes(fetched.path) == modes(yard.code)


@pytest.mark.parametrize(
    ("blind", "twins"),
    [((True, False), ("case", "CASE")), ((False, True), (NFC, NFD)), ((True, True), (NFC.upper(), NFD))],
)
def test_names_the_nodes_disk_cannot_tell_apart_are_refused_and_named(far, yard, blind, twins, rsync):
    # No disk that is blind to case can be made on the machines these tests run on: only the probe's answer is changed.
    far.porter_begins_with(f"from infra_tasks.releases import build\nbuild.blind_to = lambda folder: {blind}")
    assert far.push().brought
    sent = len(rsync.lines())
    for name in twins:
        yard.put(f"sub/{name}", "")
    with pytest.raises(NamesCollide, match="rename") as refused:
        far.push()
    assert all(repr(f"sub/{name}") in str(refused.value) for name in twins)
    assert len(rsync.lines()) == sent
    assert far.half_built() == []
    (yard.code / "sub" / twins[0]).unlink()
    assert far.push().brought


def test_links_inside_and_in_loops_and_to_nowhere_arrive_as_links(far, yard):
    for name, target in {
        "up": "sub/deep",
        "sub/back": "..",
        "loop": "loop",
        "one": "two",
        "two": "one",
        "dangling": "not/there",
        "system": "/usr/share/no-such-thing",
        "sub/with space": "deep/c",
    }.items():
        (yard.code / name).symlink_to(target)
    taken = yard.snapshot()
    far.push(taken)
    assert_arrived(far, taken)


@pytest.mark.parametrize("target", ["../outside", "sub/../../outside"])
def test_a_link_out_of_the_tree_is_refused_and_nothing_of_what_it_leads_to_goes(far, yard, tmp_path, target):
    (tmp_path / "outside").write_text("secret")
    (yard.code / "out").symlink_to(target)
    with pytest.raises(SourceUnreadable, match=r"'out'.*leads out of the source"):
        far.push()
    assert far.trees() == []


def test_a_folder_that_became_a_link_and_a_link_that_became_a_folder(far, yard, tmp_path):
    far.push()
    shutil.rmtree(yard.code / "sub")
    yard.write(elsewhere__b="other")
    (yard.code / "sub").symlink_to("elsewhere")
    (yard.code / "link").unlink()
    yard.write(link__b="now a folder")
    taken = yard.snapshot()
    far.push(taken)
    assert_arrived(far, taken)


def test_empty_folders_do_not_go_as_with_git(far, yard):
    (yard.code / "empty" / "too").mkdir(parents=True)
    taken = yard.snapshot()
    far.push(taken)
    assert_arrived(far, taken)
    assert not (far.tree(taken) / "empty").exists()


def test_empty_files_and_a_tree_of_one_file_arrive(far, yard):
    shutil.rmtree(yard.code)
    yard.put("only", "")
    taken = yard.snapshot()
    assert far.push(taken).brought.size_bytes == 0
    assert_arrived(far, taken)


def test_what_was_deleted_renamed_and_made_executable_is_so_there_and_only_what_is_new_is_sent(far, yard, rsync):
    first = yard.snapshot()
    far.push(first)
    (yard.code / "a").unlink()
    (yard.code / "sub/b").rename(yard.code / "moved")
    (yard.code / "sub/deep/c").chmod(0o755)
    (yard.code / "tool").chmod(0o600)
    yard.write(new="four")
    taken = yard.snapshot()
    assert far.push(taken).brought.files == 1
    assert_arrived(far, taken)
    assert modes(far.tree(first)) == {"a": False, "sub/b": False, "sub/deep/c": False, "tool": True}
    assert len(rsync.lines()) == 2


def test_an_edit_of_the_same_size_in_the_same_second_is_another_release(far, yard):
    place = yard.code / "a"
    first = yard.snapshot()
    far.push(first)
    was = place.stat()
    place.write_text("eno")
    os.utime(place, ns=(was.st_atime_ns, was.st_mtime_ns))
    taken = yard.snapshot()
    assert far.push(taken).brought.files == 1
    assert (far.tree(taken) / "a").read_text() == "eno"
    assert (far.tree(first) / "a").read_text() == "one"


def test_a_branch_switch_takes_files_away_and_brings_others_and_back_again_sends_nothing(far, yard, rsync):
    yard.commit_all()
    main = yard.snapshot()
    far.push(main)
    yard.git("checkout", "-qb", "other")
    yard.git("rm", "-rq", "sub", "link")
    yard.write(only__here="x")
    yard.commit_all()
    other = yard.snapshot()
    far.push(other)
    assert set(tree(far.tree(other))) == {"a", "tool", "only/here"}
    yard.git("checkout", "-q", "-")
    back = yard.snapshot()
    assert back.digest == main.digest
    assert far.push(back).held
    assert len(rsync.lines()) == 2


def test_submodules_and_worktrees_go_as_they_are_checked_out_and_nothing_of_git_with_them(far, yard, tmp_path):
    module = Yard(tmp_path / "module")
    module.write(lib__code="of the module")
    module.commit_all()
    yard.commit_all()
    yard.git("submodule", "add", "-q", str(module.code), "vendor/module")
    yard.commit_all()
    taken = yard.snapshot()
    far.push(taken)
    assert (far.tree(taken) / "vendor/module/lib/code").read_text() == "of the module"
    assert not [item for item in far.tree(taken).rglob("*") if item.name == ".git"]
    yard.git("worktree", "add", "-q", str(tmp_path / "worktree"))
    beside = Yard(tmp_path / "beside")
    (tmp_path / "beside").mkdir()
    (tmp_path / "worktree").rename(beside.code)
    yard.git("worktree", "repair", str(beside.code))
    beside.write(a="only in the worktree")
    far.calls_from(beside)
    second = beside.snapshot()
    far.push(second)
    there = tree(far.tree(second))
    assert there["a"] == "only in the worktree"
    assert ".git" not in there


def test_what_git_ignores_stays_here_and_a_folder_that_is_no_git_tree_goes_by_its_own_rules(far, yard):
    yard.write(log="x", sub__log="x")
    yard.put(".gitignore", "log\n")
    plain = yard.snapshot()
    far.push(plain)
    yard.commit_all()
    tracked = yard.snapshot()
    assert tracked.digest == plain.digest
    assert not [path for path in tree(far.tree(plain)) if path.endswith("log")]


@pytest.mark.timeout(1800)  # it is read four times, and sent once
def test_a_file_of_two_gigabytes_arrives(far, yard, tmp_path):
    size = 2**31 + 1
    with yard.put("big", b"begin").open("r+b") as file:
        file.truncate(size)
        file.seek(size - 1)
        file.write(b"!")
    try:
        taken = yard.snapshot()
        sent = far.push(taken)
        assert sent.brought.size_bytes == size + sum(len(text) for text in ("one", "two", "three", "#!/bin/sh\n"))
        with (far.tree(taken) / "big").open("rb") as file:
            assert file.read(5) == b"begin"
            assert file.seek(-1, os.SEEK_END) == size - 1
            assert file.read() == b"!"
    finally:
        shutil.rmtree(far.root)
        (yard.code / "big").unlink()


def test_of_a_large_file_the_bytes_that_are_there_are_told_while_it_is_on_its_way(far, rsync, yard):
    big = 12 << 20
    yard.put("big", os.urandom(big))
    rsync.slow(1_500)
    told = []
    far.push(progress=told.append)
    assert any(1 << 20 < one.size_bytes < big for one in told), "it is in the middle for seconds"
    assert [one.size_bytes for one in told] == sorted(one.size_bytes for one in told)
    assert (told[-1].files, told[-1].size_bytes) == (5, told[-1].size_bytes_all)


def test_folders_of_nodes_may_have_strange_names_too(server, tmp_path):
    yard = Yard(tmp_path / "it's the near $HOME #1 é")
    yard.write(a="one", sub__b="two")
    far = FarNode(yard, tmp_path / 'it\'s a "far" -node; $(id) 100% é', server)
    try:
        taken = yard.snapshot()
        far.push(taken)
        assert_arrived(far, taken)
    finally:
        far.close()


def test_a_folder_below_the_home_of_who_logs_in_is_found_there(yard, tmp_path):
    server = SshServer(tmp_path / "own-sshd", home=tmp_path / "home of somebody").start()
    far = FarNode(yard, tmp_path / "home of somebody" / "a node", server, "~/a node")
    try:
        taken = yard.snapshot()
        far.push(taken)
        assert_arrived(far, taken)
    finally:
        far.close()
        server.close()


def test_more_transfers_at_once_than_a_connection_takes_sessions_all_go_through(yard, server, tmp_path, monkeypatch):
    for module in (line_module, connecting):  # fourteen porters start at the same moment
        monkeypatch.setattr(module, "CONNECT_S", 180)
    monkeypatch.setattr(line_module, "START_S", 180)
    for number in range(200):
        yard.put(f"d{number % 9}/f{number}", os.urandom(10_000))
    taken = yard.snapshot()
    fars = [FarNode(yard, tmp_path / f"far{number}", server) for number in range(14)]
    lines = fars[0].lines
    try:
        for far in fars:
            far.lines = lines
        with ThreadPoolExecutor(len(fars)) as pool:
            list(pool.map(lambda far: far.push(taken), fars))
        for far in fars:
            assert_arrived(far, taken)
    finally:
        fars[0].close()
