"""Nodes that cannot take a release, or may not be believed: refused in plain words, and nothing half is left."""

from __future__ import annotations

import os
import subprocess
from errno import EACCES, EMFILE, ENAMETOOLONG

import pytest
from ssh_server import USUAL_PATH, SshServer

from infra_tasks.errors import HostKeyRefused, NodeUnreachable, ReleaseError, SourceUnreadable
from infra_tasks.releases.layout import Shelf
from infra_tasks.releases.remote.push import push
from infra_tasks.releases.trouble import unreadable


def test_a_node_without_rsync_is_told_what_to_install(far, server, yard):
    server.restart(path="/nowhere")
    try:
        with pytest.raises(ReleaseError, match=r"n2 .* has no rsync: install it there"):
            far.push()
        assert far.trees() == far.half_built() == []
    finally:
        server.restart(path=USUAL_PATH)
    far.rested()
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
    with pytest.raises(HostKeyRefused, match=r"(?s)is unknown here.*infra key accept n2"):
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
    far.rested()
    with pytest.raises(HostKeyRefused, match=r"(?s)n2 .* HAS CHANGED.*infra key accept n2"):
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
    with pytest.raises(HostKeyRefused, match=r"(?s)n2 .* HAS CHANGED.*infra key accept n2"):
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
    with pytest.raises(NodeUnreachable, match=r"'n3'.*nodes\.json"):
        far.push()


def test_a_node_that_is_not_there_is_said_with_its_address(far, yard):
    port = far.server.port
    far.server.kill()
    try:
        with pytest.raises(NodeUnreachable, match=rf"n2 .*:{port}"):
            far.push()
    finally:
        far.server.restart()
    far.rested()
    assert far.push().brought


def test_a_base_that_is_pruned_there_between_two_steps_does_no_harm(far, yard):
    far.push()
    yard.write(a="new")
    taken = yard.snapshot()

    def told_late():
        for kept in far.shelf.glob("*.json"):
            kept.unlink()
        return taken.manifest

    with far.lines.to(far.peer) as line:
        shelf = Shelf(yard.home, "p")
        assert push(line, far.lines.files, shelf, taken.digest, told_late, yard.code).brought


def test_a_shell_there_that_prints_when_it_starts_is_named_as_the_cause(far, server):
    server.greeting = "Welcome!"
    server.restart()
    try:
        with pytest.raises(NodeUnreachable, match=r"Welcome!.*prints"):
            far.push()
    finally:
        server.greeting = ""
        server.restart()


def nested(top, length):
    """Make folders below each other until the path of the last one has this length; put a file there."""
    fd = os.open(top, os.O_RDONLY)
    left = length - len(os.fspath(top))
    while left > 1:
        name = "d" * min(200, left - 1)
        left -= len(name) + 1
        os.mkdir(name, dir_fd=fd)
        inner = os.open(name, os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = inner
    os.close(os.open("f", os.O_CREAT | os.O_WRONLY, dir_fd=fd))
    os.close(fd)


def test_a_path_that_is_too_long_on_the_node_is_said_with_what_to_do(far, yard):
    nested(yard.code, 4050)  # here it is not: 4096 is too long
    with pytest.raises(ReleaseError, match=r"File name too long .*; .* rename the file"):
        far.push()
    assert far.trees() == far.half_built() == []


@pytest.mark.parametrize("with_git", [True, False])
def test_a_path_that_is_too_long_in_the_source_is_said_with_what_to_do(yard, with_git):
    if with_git:
        yard.commit_all()
    nested(yard.code, 4300)
    with pytest.raises(SourceUnreadable, match="or shorter" if with_git else "File name too long; shorten it"):
        yard.snapshot()


FEW_FILES = """
import os, resource
most = len(os.listdir("/dev/fd")) + 3
resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
"""


def test_a_node_without_enough_open_files_says_so_and_what_to_do(far, yard):
    far.porter_begins_with(FEW_FILES)
    with pytest.raises(ReleaseError, match=r"Too many open files.*ulimit -n"):
        far.push()
    assert far.trees() == []


def test_only_what_is_not_readable_is_to_be_made_readable():
    said = [str(unreadable("'a'", OSError(code, os.strerror(code)))) for code in (EACCES, EMFILE, ENAMETOOLONG)]
    assert "make it readable" in said[0]
    assert "ulimit -n" in said[1]
    assert "shorten it" in said[2]
