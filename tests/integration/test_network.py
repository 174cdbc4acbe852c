"""The tests' own networks: what is cut is cut, what is healed goes on, and nothing is left on the machine."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from network import Network, need_networks
from waiting import eventually

ECHO = """
import socket, sys
server = socket.create_server((sys.argv[1], 4747))
print("up", flush=True)
while True:
    talk, _ = server.accept()
    while word := talk.recv(100):
        talk.sendall(word)
"""


@pytest.fixture
def network():
    need_networks()
    one = Network("n1", "n2")
    yield one
    one.close()


@pytest.fixture
def echo(network):
    argv = [*network.inside("n2"), sys.executable, "-c", ECHO, network.host("n2")]
    server = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
    assert server.stdout.readline() == "up\n"
    yield
    server.kill()
    server.communicate()


def talks(network, *, inside=(), within_s=30):
    code = f"import socket; s = socket.create_connection(({network.host('n2')!r}, 4747), {within_s}); s.sendall(b'x')"
    argv = [*inside, sys.executable, "-c", f"{code}; assert s.recv(1)"]
    return subprocess.run(argv, capture_output=True, check=False).returncode == 0


def test_places_reach_each_other_and_this_machine_until_a_link_is_cut(network, echo):
    assert talks(network)
    assert talks(network, inside=network.inside("n1"))
    network.cut("n1")
    assert not talks(network, inside=network.inside("n1"), within_s=1)
    assert talks(network)
    network.heal("n1")
    eventually(lambda: talks(network, inside=network.inside("n1"), within_s=5), 20, "n1 is back")


@pytest.mark.parametrize("how", ["cut", "deafen", "mute"])
def test_an_open_connection_falls_silent_and_goes_on_when_the_link_is_healed(network, echo, how):
    with socket.create_connection((network.host("n2"), 4747), 10) as talk:
        getattr(network, how)("n2")
        talk.sendall(b"a")
        talk.settimeout(0.3)
        with pytest.raises(TimeoutError):
            talk.recv(1)
        network.heal("n2")
        talk.settimeout(180)
        assert talk.recv(1) == b"a"


def test_the_processes_of_a_place_are_those_inside_it(network, echo):
    inside = network.pids("n2")
    assert any(ECHO in Path(f"/proc/{pid}/cmdline").read_text() for pid in inside)
    assert os.getpid() not in inside
    assert network.pids("n1") == []


def test_nothing_is_left_of_a_network_that_was_closed(network):
    hub = network.inside("hub")[1].rpartition("/")[2]

    def named(*words):
        return subprocess.run([*words], capture_output=True, text=True, check=True).stdout

    assert hub in named("ip", "netns", "list")
    network.close()
    assert hub not in named("ip", "netns", "list")
    assert f"{network.here}/31" not in named("ip", "-o", "addr")
