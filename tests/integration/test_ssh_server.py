"""The tests' own sshd: what the tests of code over ssh rely on holds, or they would prove nothing."""

from __future__ import annotations

import subprocess

import pytest
from ssh_server import SshServer
from waiting import eventually


@pytest.fixture
def server(tmp_path):
    one = SshServer(tmp_path / "sshd").start()
    one.admit(tmp_path / "root")
    yield one
    one.close()
    eventually(lambda: not one.commands(), said="nothing is left")


@pytest.fixture
def ssh(server, tmp_path):
    """Start the system's ssh with a node's own files and nothing of the user's."""
    begun = []

    def start(command):
        root = tmp_path / "root" / "ssh"
        own = ["-F", str(root / "config"), "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=yes"]
        own += ["-o", f"UserKnownHostsFile={root / 'known_hosts'}", "-o", "GlobalKnownHostsFile=/dev/null"]
        argv = ["ssh", *own, "-p", str(server.port), server.address.rpartition(":")[0], command]
        pipe = subprocess.PIPE
        begun.append(subprocess.Popen(argv, stdin=pipe, stdout=pipe, stderr=pipe, text=True))
        return begun[-1]

    yield start
    for one in begun:
        one.kill()
        one.communicate()


def test_who_has_the_key_gets_in_and_has_the_path_the_server_gives(server, ssh):
    assert ssh("echo $PATH").communicate(timeout=180)[0] == f"{server.path}\n"
    server.restart(path="/nowhere:/usr/bin")
    assert ssh("echo $PATH").communicate(timeout=180)[0] == "/nowhere:/usr/bin\n"


def test_another_host_key_at_the_same_port_is_refused_until_it_is_known(server, ssh, tmp_path):
    server.restart(new_host_key=True)
    refused = ssh("true")
    assert "IDENTIFICATION HAS CHANGED" in refused.communicate(timeout=180)[1]
    assert refused.returncode == 255
    server.introduce(tmp_path / "root")
    assert ssh("true").wait(180) == 0


def test_a_cut_ends_the_connection_and_the_server_takes_the_next(server, ssh):
    talk = ssh("echo up; cat")
    assert talk.stdout.readline() == "up\n"
    server.cut()
    assert talk.wait(180) == 255
    assert ssh("true").wait(180) == 0


def test_a_frozen_server_says_nothing_and_ends_nothing_until_it_is_thawed(server, ssh):
    talk = ssh("echo up; read word; echo $word")
    assert talk.stdout.readline() == "up\n"
    server.freeze()
    assert not server.answers()
    assert talk.poll() is None
    server.thaw()
    eventually(server.answers, 30, "it answers again")
    assert talk.communicate(timeout=180)[0] == "\n"


def test_whatever_was_started_there_ends_with_the_server_also_what_left_its_session(server, ssh):
    assert ssh("setsid sleep 347 >/dev/null 2>&1 </dev/null & echo up").communicate(timeout=180)[0] == "up\n"
    assert len(server.commands("sleep 347")) == 1
    server.kill()
    assert not server.answers()
    assert len(server.commands("sleep 347")) == 1
    server.close()
    eventually(lambda: not server.commands(), 10, "nothing is left")
