"""A line to another node: kept, checked, strict about keys, and never waiting for ever."""

from __future__ import annotations

import json
import socket
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from ssh_server import SshServer, user
from waiting import eventually

from infra_tasks.errors import HostKeyRefused, NodeUnreachable, ReleaseError
from infra_tasks.model.ssh_address import SshAddress
from infra_tasks.releases.remote import connecting
from infra_tasks.releases.remote import line as line_module
from infra_tasks.releases.remote import lines as lines_module
from infra_tasks.releases.remote.launcher import write_launcher
from infra_tasks.releases.remote.lines import Lines
from infra_tasks.releases.remote.peer import Peer
from infra_tasks.settings import Home


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    one = SshServer(tmp_path_factory.mktemp("sshd"))
    try:
        yield one.start()
    finally:
        one.close()


@pytest.fixture
def here(tmp_path, server):
    home = Home(tmp_path / "here")
    server.admit(home.root)
    return home


@pytest.fixture
def far(tmp_path):
    """The folder of the other node, named n2."""
    home = Home(tmp_path / "far place")
    home.root.mkdir()
    home.node_json.write_text(json.dumps({"name": "n2", "uuid": "u"}))
    write_launcher(home)
    return home


@pytest.fixture
def lines(here):
    kept = Lines(here)
    yield kept
    kept.close()


def peer(server, far, name="n2", host=None):
    return Peer(name, SshAddress(user(), host or server.host, server.port), str(far.root))


def test_a_node_says_who_it_is(lines, server, far):
    with lines.to(peer(server, far)) as line:
        hello = line.ask("hello")
    assert (hello["node"], hello["root"]) == ("n2", str(far.root))
    assert hello["rsync"]


def test_a_line_is_kept_and_used_again(lines, server, far):
    with lines.to(peer(server, far)) as first:
        pass
    with lines.to(peer(server, far)) as second:
        assert second is first


def test_two_at_once_have_a_line_each(lines, server, far):
    with lines.to(peer(server, far)) as first, lines.to(peer(server, far)) as second:
        assert first is not second
        assert second.ask("hello")["node"] == first.ask("hello")["node"]


def test_a_kept_line_that_was_cut_meanwhile_is_replaced(lines, server, far, monkeypatch):
    monkeypatch.setattr(lines_module, "RESTED_S", 0.0)
    with lines.to(peer(server, far)) as first:
        pass
    server.cut()
    with lines.to(peer(server, far)) as second:
        assert second is not first
        assert second.ask("hello")["node"] == "n2"


def test_an_unknown_host_key_is_refused_and_nothing_is_asked(here, server, far):
    (here.root / "ssh" / "known_hosts").unlink()
    with pytest.raises(HostKeyRefused, match="infra key accept n2"), Lines(here).to(peer(server, far)):
        pass


def test_a_changed_host_key_is_refused(tmp_path, far):
    server, home = SshServer(tmp_path / "own"), Home(tmp_path / "mine")
    try:
        server.start().admit(home.root)
        server.restart(new_host_key=True)
        with pytest.raises(HostKeyRefused, match="CHANGED"), Lines(home).to(peer(server, far)):
            pass
    finally:
        server.close()


def test_another_node_than_the_one_meant_is_refused(lines, server, far):
    with pytest.raises(NodeUnreachable, match="says that it is node 'n2'"), lines.to(peer(server, far, name="n3")):
        pass


def test_a_folder_no_node_was_ever_started_in_is_said(lines, server, tmp_path):
    with pytest.raises(NodeUnreachable, match="infra up"), lines.to(peer(server, Home(tmp_path / "nowhere"))):
        pass


def test_a_node_of_another_protocol_is_said(lines, server, far):
    porter = far.root / "bin" / "porter"
    hello = {"done": {"protocol": 99, "version": "9.9", "node": "n2", "root": "/"}}
    porter.write_text(f"#!/bin/sh\nread request\necho '{json.dumps(hello)}'\ncat >/dev/null\n")
    with pytest.raises(NodeUnreachable, match=r"9\.9, which speaks another protocol"), lines.to(peer(server, far)):
        pass


def test_odd_signs_in_the_name_of_this_nodes_folder_are_no_signs_to_ssh(tmp_path, server, far):
    from infra_tasks.releases.remote import rsync

    home = Home(tmp_path / 'a "b" 100% [x] \\')
    server.admit(home.root)
    lines = Lines(home)
    source = tmp_path / "source"
    source.mkdir()
    (source / "a").write_text("a")
    with lines.to(peer(server, far)) as line:
        carry = rsync.Carry(line.peer, source, str(far.root), ["a"], 1)
        rsync.run(rsync.push_line(carry, lines.files.client_config()), carry)
    lines.close()
    assert (far.root / "a").read_text() == "a"


def test_a_porter_that_chatters_is_not_believed(lines, server, far):
    (far.root / "bin" / "porter").write_text("#!/bin/sh\necho Welcome to this machine\ncat >/dev/null\n")
    with pytest.raises(NodeUnreachable, match="Welcome to this machine"), lines.to(peer(server, far)):
        pass


@pytest.mark.parametrize("says", ["while printf x; do sleep 0.2; done", "cat /dev/zero"], ids=["drips", "floods"])
def test_a_message_without_an_end_is_given_up(lines, server, far, monkeypatch, says):
    monkeypatch.setattr(line_module, "START_S", 6.0)
    monkeypatch.setattr(line_module, "LONGEST_BYTES", 1 << 20)
    (far.root / "bin" / "porter").write_text(f"#!/bin/sh\n{says}\n")
    with pytest.raises(NodeUnreachable, match="does not come to an end"), lines.to(peer(server, far)):
        pass


def test_what_lies_in_the_folder_a_login_begins_in_is_no_part_of_the_porter(far, tmp_path):
    (tmp_path / "json.py").write_text("raise SystemExit('not this one')")
    porter = [far.root / "bin" / "porter"]
    done = subprocess.run(porter, cwd=tmp_path, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_nobody_at_the_port_is_said_and_not_asked_again_at_once(lines, server, far, monkeypatch):
    nobody = Peer("n2", SshAddress(user(), server.host, 1), str(far.root))
    with pytest.raises(NodeUnreachable, match="refused"), lines.to(nobody):
        pass
    monkeypatch.setattr(lines_module, "_new", lambda *_: pytest.fail("it was called again"))
    with pytest.raises(NodeUnreachable, match="refused"), lines.to(nobody):
        pass


def test_silence_has_an_end(lines, server, far, monkeypatch):
    with lines.to(peer(server, far)) as line:
        monkeypatch.setattr(line_module, "SILENCE_S", 1.0)
        server.freeze()
        try:
            with pytest.raises(NodeUnreachable, match="said nothing"):
                line.ask("hello")
        finally:
            server.thaw()
        assert not line.usable


@pytest.mark.parametrize("step", ["greeting", "session", "exec", "hello"])
def test_a_node_that_falls_silent_at_any_step_of_a_new_line_is_given_up(lines, server, far, monkeypatch, step):
    connect = line_module.connect

    def frozen_before(step_, do):
        def begin(*given, **more):
            if step == step_:
                server.freeze()
            return do(*given, **more)

        return begin

    def connected(*given):
        connection = frozen_before("greeting", connect)(*given)
        transport = connection.transport
        open_session = frozen_before("session", transport.open_session)

        def opened(**more):
            channel = open_session(**more)
            channel.exec_command = frozen_before("exec", channel.exec_command)
            channel.sendall = frozen_before("hello", channel.sendall)
            return channel

        transport.open_session = opened
        return connection

    monkeypatch.setattr(line_module, "connect", connected)
    for module in (line_module, connecting):
        monkeypatch.setattr(module, "CONNECT_S", 2.0)
    monkeypatch.setattr(line_module, "START_S", 2.0)
    with ThreadPoolExecutor(1) as beside:
        coming = beside.submit(lines.to(peer(server, far)).__enter__)
        try:
            eventually(coming.done, 60, "it is given up")
        finally:
            server.thaw()
        assert isinstance(coming.exception(), NodeUnreachable)


def test_a_line_does_not_wait_to_send_what_is_short(lines, server, far):
    with lines.to(peer(server, far)) as line:
        sock = line._connection.transport.sock
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_a_porter_ends_with_its_caller(lines, server, far):
    with lines.to(peer(server, far)):
        assert server.commands("releases.remote.porter")
    lines.close()
    eventually(lambda: not server.commands("releases.remote.porter"), 30, "the porter has ended")


def test_a_killed_porter_is_an_error_in_words_not_a_hang(lines, server, far):
    with lines.to(peer(server, far)) as line:
        server.kill_commands("releases.remote.porter")
        with pytest.raises(NodeUnreachable, match=r"porter ended|connection was lost"):
            line.ask("hello")


def test_a_request_that_is_not_understood_leaves_the_line_usable(lines, server, far):
    with lines.to(peer(server, far)) as line:
        with pytest.raises(ReleaseError, match="not understood"):
            line.ask("dance")
        assert line.ask("hello")["node"] == "n2"


def test_what_a_caller_raises_while_it_brings_ends_the_request_at_both_ends(lines, server, far, tmp_path):
    from infra_tasks import releases
    from infra_tasks.releases.layout import Shelf
    from infra_tasks.releases.remote import parcel

    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "a").write_text("a")
    home = Home(tmp_path / "here")
    taken = releases.snapshot(home, "p", releases.Source(tmp_path / "src"))
    manifest = parcel.pack(Shelf(home, "p"), taken.manifest, [])

    def refuse(_):
        raise ReleaseError("no such luck")

    with lines.to(peer(server, far)) as line:
        with pytest.raises(ReleaseError, match="no such luck"):
            line.ask("ensure", bring=refuse, project="p", digest=taken.digest, manifest=manifest)
        assert line.usable
        assert line.ask("look", project="p", digest=taken.digest)["held"] is False
    assert not list(far.projects.glob("*/releases/.building-*"))


def test_lines_are_safe_to_share_between_threads(lines, server, far):
    said = []

    def ask():
        for _ in range(5):
            with lines.to(peer(server, far)) as line:
                said.append(line.ask("hello")["node"])

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(180)
    assert said == ["n2"] * 20
