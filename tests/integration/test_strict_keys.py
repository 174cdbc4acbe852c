"""No option of a user's ssh, no jump host and no kept connection gets around the host keys a person accepted."""

from __future__ import annotations

import json
import shutil
import sys

import pytest
from ssh_server import SshServer, user

from infra_tasks.errors import HostKeyRefused, ReleaseError
from infra_tasks.model.ssh_address import SshAddress
from infra_tasks.releases.remote import rsync
from infra_tasks.releases.remote.launcher import write_launcher
from infra_tasks.releases.remote.lines import Lines
from infra_tasks.releases.remote.peer import Peer
from infra_tasks.releases.remote.rsync import Carry
from infra_tasks.settings import Home

ALIAS = "mac-2"
RELAY = """
import os, socket, sys, threading
door = socket.create_connection((sys.argv[1], int(sys.argv[2])))
def send():
    while piece := os.read(0, 65536):
        door.sendall(piece)
    os._exit(0)
threading.Thread(target=send, daemon=True).start()
while piece := door.recv(65536):
    os.write(1, piece)
"""


@pytest.fixture
def here(tmp_path, server):
    home = Home(tmp_path / "here")
    server.admit(home.root)
    return home


@pytest.fixture
def far(tmp_path):
    home = Home(tmp_path / "far place")
    home.root.mkdir()
    home.node_json.write_text(json.dumps({"name": "n2", "uuid": "u"}))
    write_launcher(home)
    (home.root / "a").write_text("a")
    return home


@pytest.fixture
def lines(here):
    kept = Lines(here)
    yield kept
    kept.close()
    shutil.rmtree(kept.files.client_config().parent, ignore_errors=True)


def peer(server, far, host=None):
    return Peer("n2", SshAddress(user(), host or server.host, server.port), str(far.root))


def asked(lines, peer):
    """Say who answers over a line."""
    with lines.to(peer) as line:
        return line.ask("hello")["node"]


def fetched(lines, peer, into):
    """Bring a file with rsync over the system's ssh."""
    into.mkdir(exist_ok=True)
    carry = Carry(peer, into, peer.root, ["a"], 1)
    rsync.run(rsync.pull_line(carry, lines.files.client_config()), carry)
    return (into / "a").read_text()


def say(home, *options):
    with (home.root / "ssh" / "config").open("a") as config:
        config.write("".join(f"{option}\n" for option in options))


def forget_all(home):
    (home.root / "ssh" / "known_hosts").unlink()


@pytest.mark.parametrize("option", ["NoHostAuthenticationForLocalhost yes", "KnownHostsCommand /bin/echo %H {key}"])
def test_no_option_of_the_user_makes_ssh_take_a_key_that_was_not_accepted(lines, here, server, far, tmp_path, option):
    key = (server.folder / "host_key.pub").read_text().rsplit(" ", 1)[0]
    say(here, option.format(key=key))
    forget_all(here)
    with pytest.raises(HostKeyRefused):
        fetched(lines, peer(server, far), tmp_path / "into")


def test_a_key_that_is_forgotten_ends_kept_connections(lines, here, server, far, tmp_path):
    assert (asked(lines, peer(server, far)), fetched(lines, peer(server, far), tmp_path / "into")) == ("n2", "a")
    forget_all(here)
    with pytest.raises(HostKeyRefused):
        asked(lines, peer(server, far))
    with pytest.raises(HostKeyRefused):
        fetched(lines, peer(server, far), tmp_path / "into")


def test_a_host_name_from_the_users_options_is_the_host_whose_key_was_accepted(lines, here, server, far, tmp_path):
    say(here, f"Host {ALIAS}", f"  HostName {server.host}")
    known = here.root / "ssh" / "known_hosts"
    known.write_text(known.read_text().replace(f"[{server.host}]", f"[{ALIAS}]"))
    there = peer(server, far, ALIAS)
    assert (asked(lines, there), fetched(lines, there, tmp_path / "into")) == ("n2", "a")


def test_a_jump_host_whose_key_is_unknown_is_refused(here, server, far, tmp_path):
    jump = SshServer(tmp_path / "jump", host="127.0.0.2", key=server.user_key)
    try:
        jump.start()
        say(here, f"Host {server.host}", f"  ProxyJump {jump.address}")
        with pytest.raises(HostKeyRefused, match=r"jump host on the way to n2(.|\n)*SHA256:"):
            asked(Lines(here), peer(server, far))
        jump.introduce(here.root)
        through = Lines(here)
        assert asked(through, peer(server, far)) == "n2"
        through.close()
    finally:
        jump.close()


def test_a_node_is_reached_through_a_proxy_command(lines, here, server, far, tmp_path):
    relay = tmp_path / "relay.py"
    relay.write_text(RELAY)
    say(here, f"ProxyCommand {sys.executable} {relay} {server.host} {server.port}")
    assert asked(lines, peer(server, far)) == "n2"


@pytest.mark.parametrize("line", [b"other ssh-ed25519 AAA", b"# M\xfcller", b"other ssh-new AAAAB3NzaC1uZXc="])
def test_a_line_of_known_hosts_that_is_not_understood_hinders_nobody(lines, here, server, far, line):
    known = here.root / "ssh" / "known_hosts"
    known.write_bytes(line + b"\n" + known.read_bytes())
    assert asked(lines, peer(server, far)) == "n2"


def test_options_that_are_not_understood_are_said(lines, here, server, far):
    say(here, 'Host "open')
    with pytest.raises(ReleaseError, match="ssh/config"):
        asked(lines, peer(server, far))


def test_options_this_ssh_has_never_heard_of_hinder_nobody(lines, here, server, far, tmp_path):
    say(here, "IgnoreUnknown UseKeychain", "UseKeychain yes")
    assert fetched(lines, peer(server, far), tmp_path / "into") == "a"
