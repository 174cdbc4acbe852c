"""A release on its way to another node over a real ssh: it arrives exactly as it was, or is refused in plain words."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import unicodedata

import pytest
from far_node import FarNode
from rsync_on_path import REAL, RsyncOnPath
from ssh_server import SshServer
from yard import Yard, tree

from infra_tasks.errors import (
    HostKeyRefused,
    NamesCollide,
    NodeUnreachable,
    ReleaseError,
    SourceChanging,
    SourceUnreadable,
)
from infra_tasks.releases import ensure_release
from infra_tasks.releases.remote.pull import PullCarrier

NFC, NFD = (unicodedata.normalize(form, "caf\u00e9") for form in ("NFC", "NFD"))
STRANGE = [
    "with space", " begins and ends ", "it's", 'say "so"', "-rf", "--delete", "#comment", ";semicolon", "co:lon", "a:b/c:d",
    "*", "?", "[a]", "back\\slash", "$HOME", "`id`", "$(id)", "~", "~root", "%C", "!bang", "&", "|", "tab\there", "\\#012",
    NFC, NFD, "case", "CASE", "Case/x", "cAse/x", "\u65e5\u672c\u8a9e", "\U0001f600", os.fsdecode(b"no utf-8 \xff\xfe"),
    "n" * 255, "/".join("d" * 50 for _ in range(20)), ".hidden", "...", ".git-not", "end.", "-/-", "#/#", "new/-f/x",
]  # fmt: skip
BREAKS = ["new\nline", "\nfirst", "last\n", "carriage\rreturn", "two\n\nlines/\n/x"]


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    one = SshServer(tmp_path_factory.mktemp("sshd")).start()
    yield one
    one.close()


@pytest.fixture
def yard(tmp_path):
    made = Yard(tmp_path)
    made.write(a="one", sub__b="two", sub__deep__c="three")
    made.put("tool", "#!/bin/sh\n").chmod(0o700)
    (made.code / "link").symlink_to("sub/b")
    return made


@pytest.fixture
def far(yard, server, tmp_path):
    one = FarNode(yard, tmp_path / "far", server)
    yield one
    one.close()


@pytest.fixture
def rsync(tmp_path, monkeypatch):
    one = RsyncOnPath(tmp_path / "bin")
    monkeypatch.setenv("PATH", one.path)
    return one


def modes(folder):
    """Path -> whether it is executable, of all files."""
    found = {}
    for top, _, files in os.walk(folder):
        for name in files:
            path = os.path.join(top, name)
            if not os.path.islink(path):
                found[os.path.relpath(path, folder)] = bool(os.lstat(path).st_mode & 0o100)
    return found


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
    for number, name in enumerate([*STRANGE, *(BREAKS if breaks else [])]):
        yard.put(name, f"{number}")
    taken = yard.snapshot()
    assert far.push(taken).brought.files == 4 + len(STRANGE) + len(BREAKS) * breaks
    assert_arrived(far, taken)
    assert any("--from0" in line for line in rsync.lines()) == breaks


def test_the_same_names_can_be_fetched_from_there(far, yard, tmp_path):
    for number, name in enumerate([*STRANGE, *BREAKS]):
        yard.put(name, f"{number}")
    taken = yard.snapshot()
    far.push(taken)
    other = Yard(tmp_path / "third")
    shutil.copytree(yard.home.root / "ssh", other.home.root / "ssh")
    with PullCarrier(other.home, far.lines, "p", taken.digest, [far.peer]) as carrier:
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
    far.yard = beside
    far.server.admit(beside.home.root)
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


# --- edits and losses at the source while it goes


def test_a_file_edited_after_the_snapshot_is_noticed_and_a_new_snapshot_goes_through(far, yard, rsync):
    taken = yard.snapshot()
    rsync.does(f"printf eno > {yard.code}/a", once=True)
    with pytest.raises(SourceChanging, match=r"'a'.*edited while it was sent"):
        far.push(taken)
    assert far.trees() == far.half_built() == []
    after = yard.snapshot()
    assert far.push(after).brought.files == 4
    assert (far.tree(after) / "a").read_text() == "eno"


def test_a_file_edited_while_its_bytes_go_is_noticed(far, yard, rsync):
    place = yard.put("big", os.urandom(4_000_000))
    taken = yard.snapshot()
    late = f"{{ while ! ls {far.shelf}/.building-*/.big.* >/dev/null 2>&1; do :; done; "
    late += f"printf x | dd of={place} bs=1 seek=3999999 conv=notrunc 2>/dev/null; }} &"
    rsync.does(late, real=f"{REAL} --bwlimit=2000")
    with pytest.raises(SourceChanging, match="'big'"):
        far.push(taken)
    assert far.trees() == far.half_built() == []


@pytest.mark.parametrize(
    "then", ["rm {}/a", "rm -r {}/sub", "mv {}/sub/b {}/b2", "rm {0}/a; mkdir {0}/a", "rm {0}/a; ln -s b {0}/a"]
)
def test_a_file_that_is_gone_when_it_should_go_is_noticed(far, yard, rsync, then):
    taken = yard.snapshot()
    rsync.does(then.format(yard.code, yard.code), once=True)
    with pytest.raises(SourceChanging):
        far.push(taken)
    assert far.trees() == far.half_built() == []
    assert far.push().brought


@pytest.mark.parametrize("late", [False, True], ids=["before", "while it goes"])
def test_a_source_that_vanished_is_said(far, yard, rsync, tmp_path, late):
    taken = yard.snapshot()
    if late:
        rsync.does(f"mv {yard.code} {tmp_path}/elsewhere", once=True)
    else:
        yard.code.rename(tmp_path / "elsewhere")
    with pytest.raises((SourceUnreadable, SourceChanging), match="not there any more|No such file"):
        far.push(taken)
    assert far.trees() == far.half_built() == []
    (tmp_path / "elsewhere").rename(yard.code)
    assert far.push(taken).brought


def refused_by_a_snapshot(yard, prefix):
    """Return the kind of error of a snapshot that is taken in a process of its own, and the first word it says."""
    code = f"""if True:
        from pathlib import Path
        from yard import Yard
        try:
            Yard(Path({str(yard.root)!r})).snapshot()
        except Exception as error:
            print(f"{{type(error).__name__}}: {{str(error).split()[0]}}", end="")
    """
    return subprocess.run([*prefix, sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout


def test_a_file_that_may_not_be_read_is_said_by_name(far, yard, rsync):
    taken = yard.snapshot()
    (yard.code / "a").chmod(0)
    # Root may read everything, until the capability to do so is taken away.
    bare = "setpriv --bounding-set=-dac_override,-dac_read_search " if os.geteuid() == 0 else ""
    rsync.does(real=f"{bare}{REAL}")
    with pytest.raises(SourceUnreadable, match=r"/a.*Permission denied"):
        far.push(taken)
    assert far.trees() == far.half_built() == []
    assert refused_by_a_snapshot(yard, bare.split()) == "SourceUnreadable: 'a'"
    (yard.code / "a").chmod(0o644)
    rsync.does()
    assert far.push().brought


# --- nodes that are not as they should be


def test_a_node_without_rsync_is_told_what_to_install(far, server, yard):
    server.restart(path="/nowhere")
    try:
        with pytest.raises(ReleaseError, match=r"n2 .* has no rsync: install it there"):
            far.push()
        assert far.trees() == far.half_built() == []
    finally:
        server.restart(path="/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin")
    assert far.push().brought


def test_a_machine_without_rsync_itself_is_told_what_to_install(far, monkeypatch):
    with monkeypatch.context() as without:
        without.setenv("PATH", "/nowhere")
        with pytest.raises(ReleaseError, match="no rsync on this node: install it"):
            far.push()
    assert far.push().brought


@pytest.fixture
def small_disk(far):
    if os.geteuid() != 0:
        pytest.skip("only root may mount a small disk")
    place = far.root / "projects"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "none", str(place)], check=True)
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def test_a_node_without_space_says_so_and_works_again_once_there_is_some(far, yard, small_disk):
    first = far.push()
    yard.put("big", os.urandom(3_000_000))
    with pytest.raises(ReleaseError, match=r"No space left on device.*prune"):
        far.push()
    assert far.half_built() == []
    assert first.brought
    assert len(far.trees()) == 1
    (yard.code / "big").unlink()
    yard.put("small", os.urandom(1000))
    assert far.push().brought


def test_a_node_whose_folder_is_read_only_says_so(far, yard, small_disk):
    held = yard.snapshot()
    far.push(held)
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    yard.write(a="new")
    with pytest.raises(ReleaseError, match="Read-only file system"):
        far.push()
    subprocess.run(["mount", "-o", "remount,rw", str(small_disk)], check=True)
    assert far.push().brought


def test_a_node_that_was_never_started_is_told_apart_from_one_that_is_away(far):
    (far.root / "bin" / "porter").unlink()
    with pytest.raises(NodeUnreachable, match="infra up"):
        far.push()


# --- host keys


def test_an_unknown_host_key_is_refused_with_the_command_that_accepts_it(far, yard, rsync):
    (yard.home.root / "ssh" / "known_hosts").unlink()
    with pytest.raises(HostKeyRefused, match=r"not known here.*infra key accept n2"):
        far.push()
    assert far.trees() == []
    far.server.introduce(yard.home.root)
    assert far.push().brought


def test_a_known_host_of_the_user_is_no_known_host_of_ours(far, yard, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".ssh").mkdir()
    (tmp_path / ".ssh" / "known_hosts").write_text(far.server.known_hosts_line)
    (tmp_path / ".ssh" / "config").write_text("StrictHostKeyChecking no\nUserKnownHostsFile /dev/null\n")
    (yard.home.root / "ssh" / "known_hosts").unlink()
    with pytest.raises(HostKeyRefused):
        far.push()


def test_a_changed_host_key_is_refused_even_when_a_line_was_open_before(far, yard):
    far.push()
    yard.write(a="new")
    far.server.restart(new_host_key=True)
    with pytest.raises(HostKeyRefused, match=r"another host key.*infra key accept n2"):
        far.push()
    assert len(far.trees()) == 1
    far.server.introduce(yard.home.root)
    assert far.push().brought


def test_rsync_refuses_a_changed_host_key_of_its_own_accord(far, yard, rsync, tmp_path):
    other = SshServer(tmp_path / "other")
    other.port = far.server.port
    other.introduce(tmp_path)
    # The line is open when the key changes: only rsync's own connection meets it.
    rsync.does(f"cp {tmp_path}/ssh/known_hosts {yard.home.root}/ssh/known_hosts", once=True)
    with pytest.raises(HostKeyRefused, match=r"Host key verification failed.*infra key accept n2"):
        far.push()
    assert far.trees() == far.half_built() == []
    far.server.introduce(yard.home.root)
    assert far.push().brought


def test_who_has_no_key_there_is_told_so(far, yard, tmp_path):
    stranger = SshServer(tmp_path / "stranger")
    (yard.home.root / "ssh" / "config").write_text(f"IdentityFile {stranger.user_key}\nIdentitiesOnly yes\n")
    with pytest.raises(NodeUnreachable, match="authorized_keys"):
        far.push()


def test_another_node_at_the_address_is_noticed(far, yard):
    far.home.node_json.write_text('{"name": "n3", "uuid": "x"}')
    with pytest.raises(NodeUnreachable, match="'n3'.*nodes.json"):
        far.push()


def test_a_node_that_is_not_there_is_said_with_its_address(far, yard):
    port = far.server.port
    far.server.kill()
    try:
        with pytest.raises(NodeUnreachable, match=rf"n2 .*:{port}"):
            far.push()
    finally:
        far.server.restart()
    assert far.push().brought
