"""`infra key`: host keys of a real sshd, shown, judged, accepted and forgotten; the question is asked on a terminal."""

from __future__ import annotations

import json
import socket
import subprocess
from contextlib import suppress
from threading import Thread

import pytest
from cli_process import Terminal, infra
from ssh_server import SshServer, user

from infra_tasks.errors import NodeUnreachable
from infra_tasks.model.ssh_address import SshAddress
from infra_tasks.releases.remote import known_hosts
from infra_tasks.settings import Home

NEVER = "SHA256:" + "A" * 43


@pytest.fixture
def server(tmp_path):
    started = SshServer(tmp_path / "sshd").start()
    yield started
    started.close()


@pytest.fixture
def fleet(tmp_path, server):
    """A fleet of this node and `mac-2`, behind the server; the user's own ssh knows nobody."""
    return TestFleet(tmp_path, server)


class TestFleet:
    __test__ = False

    def __init__(self, folder, server):
        self.home = Home(folder / "home")
        self.server = server
        self.user = folder / "user"
        (self.user / ".ssh").mkdir(parents=True)
        self.infra("init", "--name", "mac-1")
        self.reach(f"me@127.0.0.1:{server.port}")

    @property
    def address(self):
        return SshAddress("me", "127.0.0.1", self.server.port)

    def reach(self, ssh):
        raw = json.loads(self.home.nodes_json.read_text())
        raw["nodes"]["mac-2"] = {"ssh": ssh, "root": "/far"}
        self.home.nodes_json.write_text(json.dumps(raw))

    def infra(self, *line):
        return infra(self.home.root, *line, HOME=str(self.user))

    def json(self, *line):
        done = self.infra(*line, "--json")
        assert done.code == 0, done.err
        return json.loads(done.out)

    def at_terminal(self, *line):
        return Terminal(self.home.root, *line, HOME=str(self.user))

    def known(self):
        return [key.fingerprint for key in known_hosts.known(self.home, self.address)]


def test_a_key_is_shown_asked_about_and_accepted(fleet):
    with fleet.at_terminal("key", "accept", "mac-2") as terminal:
        terminal.shows("[y/N]")
        for words in ("mac-2", f"me@127.0.0.1:{fleet.server.port}", "ssh-ed25519", fleet.server.fingerprint(),
                      "does not know this key"):  # fmt: skip
            assert words in terminal.seen
        assert fleet.known() == [], "nothing is written before the answer"
        terminal.types("y\n")
        assert terminal.ends() == 0
    assert fleet.known() == [fleet.server.fingerprint()]


@pytest.mark.parametrize("answer", ["n\n", "\n"])
def test_whoever_does_not_agree_accepts_nothing(fleet, answer):
    with fleet.at_terminal("key", "accept", "mac-2") as terminal:
        terminal.shows("[y/N]")
        terminal.types(answer)
        assert terminal.ends() == 1
        assert "nothing was accepted" in terminal.seen
    assert fleet.known() == []


def test_ctrl_c_at_the_question_accepts_nothing(fleet):
    with fleet.at_terminal("key", "accept", "mac-2") as terminal:
        terminal.shows("[y/N]: ")
        assert interrupted(terminal) == 130
        assert "Traceback" not in terminal.seen
    assert fleet.known() == []


def interrupted(terminal):
    """Press Ctrl-C until it ends: Python misses one that comes in the moment before it begins to read a line."""
    for _ in range(5):
        terminal.types("\x03")
        with suppress(AssertionError):
            return terminal.ends(30)
    raise AssertionError(f"Ctrl-C does not end it; seen: {terminal.seen!r}")


def test_without_a_terminal_nothing_is_accepted_unless_it_was_said(fleet):
    for line in (["key", "accept", "mac-2"], ["key", "accept", "mac-2", "--json"]):
        done = fleet.infra(*line)
        assert done.code == 2
        assert f"--fingerprint {fleet.server.fingerprint()}" in done.err
        assert fleet.known() == []
    assert fleet.infra("key", "accept", "mac-2", "--yes").code == 0
    assert fleet.known() == [fleet.server.fingerprint()]


def test_a_fingerprint_accepts_this_key_and_no_other(fleet):
    done = fleet.infra("key", "accept", "mac-2", "--fingerprint", NEVER)
    assert done.code == 1
    assert NEVER in done.err
    assert fleet.server.fingerprint() in done.err
    assert fleet.known() == []
    said = fleet.json("key", "accept", "mac-2", "--fingerprint", fleet.server.fingerprint())
    assert (said["judged"], said["accepted"], said["known_before"]) == ("unknown", True, [])
    assert fleet.known() == [fleet.server.fingerprint()]


def test_the_fingerprint_must_be_right_for_a_key_that_is_accepted_already(fleet):
    fleet.json("key", "accept", "mac-2", "--yes")
    assert fleet.infra("key", "accept", "mac-2", "--fingerprint", NEVER).code == 1
    with fleet.at_terminal("key", "accept", "mac-2") as terminal:
        assert terminal.ends() == 0
        assert "accepted already" in terminal.seen
        assert "[y/N]" not in terminal.seen


def test_what_is_accepted_is_what_openssh_then_trusts(fleet):
    known = ["-o", f"UserKnownHostsFile={known_hosts.file_of(fleet.home)}", "-o", "GlobalKnownHostsFile=/dev/null"]
    login = ["-i", str(fleet.server.user_key), "-o", "IdentitiesOnly=yes", "-p", str(fleet.server.port)]
    strict = ["ssh", "-F", "none", "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=yes", *known, *login]
    ask = [*strict, f"{user()}@127.0.0.1", "true"]
    assert subprocess.run(ask, capture_output=True, check=False).returncode == 255
    fleet.json("key", "accept", "mac-2", "--yes")
    done = subprocess.run(ask, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_changed_key_is_shouted_about_and_yes_is_not_enough(fleet):
    fleet.json("key", "accept", "mac-2", "--yes")
    old = fleet.server.fingerprint()
    fleet.server.restart(new_host_key=True)
    new = fleet.server.fingerprint()
    assert new != old
    for line in (["--yes"], []):
        done = fleet.infra("key", "accept", "mac-2", *line)
        assert done.code == 2
        assert "HAS CHANGED" in done.err
        assert f"--fingerprint {new}" in done.err
        assert fleet.known() == [old]
    with fleet.at_terminal("key", "accept", "mac-2") as terminal:
        terminal.shows("[y/N]")
        for words in (old, new, "HAS CHANGED", "somebody else"):
            assert words in terminal.seen
        terminal.types("y\n")
        assert terminal.ends() == 0
    assert fleet.known() == [new], "the old key is trusted no more"


def test_a_changed_key_can_be_accepted_by_its_fingerprint(fleet):
    fleet.json("key", "accept", "mac-2", "--yes")
    old = fleet.server.fingerprint()
    fleet.server.restart(new_host_key=True)
    said = fleet.json("key", "accept", "mac-2", "--fingerprint", fleet.server.fingerprint())
    assert said["judged"] == "changed"
    assert said["known_before"] == [{"type": "ssh-ed25519", "fingerprint": old}]
    assert fleet.known() == [fleet.server.fingerprint()]


def test_a_key_the_users_own_ssh_knows_is_said_to_be_known(fleet):
    (fleet.user / ".ssh" / "known_hosts").write_text(fleet.server.known_hosts_line)
    assert "knows the same key" in fleet.infra("key", "accept", "mac-2").out
    fleet.server.restart(new_host_key=True)
    assert "does not know this key" in fleet.infra("key", "accept", "mac-2").out


def test_a_host_is_asked_for_the_type_that_is_known(fleet):
    folder = fleet.server.folder
    curve = folder / "host_curve"
    subprocess.run(["ssh-keygen", "-q", "-t", "ecdsa", "-N", "", "-f", curve], check=True)
    fleet.server.kill()
    with (folder / "sshd_with_two").open("w") as config:
        config.write((folder / "config").read_text() + f"HostKey {curve}\n")
    kind, text, *_ = curve.with_suffix(".pub").read_text().split()
    known = known_hosts.key_of(kind, text)
    with running_sshd(folder / "sshd_with_two", fleet.server):
        assert known_hosts.shown_key(fleet.address, 20).type == "ssh-ed25519"
        assert known_hosts.shown_key(fleet.address, 20, prefer=[known]) == known


class running_sshd:  # noqa: N801  it reads as a sentence where it is used
    def __init__(self, config, server):
        self.config, self.server = config, server

    def __enter__(self):
        from ssh_server import sshd_binary
        from waiting import eventually

        self.process = subprocess.Popen([sshd_binary(), "-D", "-e", "-f", self.config], stderr=subprocess.DEVNULL)
        eventually(self.server.answers, 30, "sshd answers")

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()


def test_list_shows_what_is_trusted_and_forget_ends_it(fleet):
    assert fleet.json("key", "list") == [
        {"node": "mac-2", "address": f"me@127.0.0.1:{fleet.server.port}", "type": None, "fingerprint": None}
    ]
    assert "none accepted" in fleet.infra("key", "list").out
    fleet.json("key", "accept", "mac-2", "--yes")
    assert fleet.json("key", "list")[0]["fingerprint"] == fleet.server.fingerprint()
    assert fleet.server.fingerprint() in fleet.infra("key", "list").out
    fleet.reach("me@elsewhere")
    rows = fleet.json("key", "list")
    assert [(row["node"], row["address"]) for row in rows] == [
        ("mac-2", "me@elsewhere"), (None, f"[127.0.0.1]:{fleet.server.port}"),
    ]  # fmt: skip
    fleet.reach(f"me@127.0.0.1:{fleet.server.port}")
    assert fleet.server.fingerprint() in fleet.infra("key", "forget", "mac-2").out
    assert fleet.known() == []
    assert "nothing to forget" in fleet.infra("key", "forget", "mac-2").out


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (["key", "accept", "mac-1"], "this machine"),
        (["key", "forget", "mac-1"], "this machine"),
        (["key", "accept", "mac2"], "did you mean 'mac-2'"),
        (["key", "acept", "mac-2"], "did you mean 'accept'"),
        (["key", "accept", "mac-2", "--fingerprint", "MD5:aa"], "ssh-keygen -l"),
        (["key", "accept"], "NODE"),
    ],
)
def test_wrong_use_is_told(fleet, line, said):
    done = fleet.infra(*line)
    assert done.code == 2
    assert said in done.err
    assert "Traceback" not in done.err


def test_a_node_that_is_not_there_is_told_with_its_address(fleet):
    fleet.server.kill()
    done = fleet.infra("key", "accept", "mac-2", "--yes")
    assert done.code == 1
    assert f"me@127.0.0.1:{fleet.server.port}" in done.err
    assert "refused" in done.err
    fleet.reach("me@no-such-host.invalid")
    done = fleet.infra("key", "accept", "mac-2", "--yes", "--json")
    assert json.loads(done.err)["error"]["kind"] == "NodeUnreachable"
    assert "no-such-host.invalid" in done.err


def test_a_port_without_an_ssh_server_is_told_in_one_sentence(fleet):
    with listening(b"HTTP/1.1 400 Bad Request\r\n\r\n") as port:
        fleet.reach(f"me@127.0.0.1:{port}")
        done = fleet.infra("key", "accept", "mac-2", "--yes")
    assert done.code == 1
    assert "no ssh server" in done.err
    assert "Traceback" not in done.err
    assert len(done.err.splitlines()) == 1


def test_a_host_that_says_nothing_is_given_up_in_time():
    with listening(b"") as port, pytest.raises(NodeUnreachable, match=r"within 0\.5 s"):
        known_hosts.shown_key(SshAddress("me", "127.0.0.1", port), 0.5)


class listening:  # noqa: N801  it reads as a sentence where it is used
    """A port that says one thing to whoever comes, and hangs up after it; with nothing to say it keeps silent."""

    def __init__(self, says):
        self.says = says

    def __enter__(self):
        self.door = socket.create_server(("127.0.0.1", 0))
        self.guests = []
        self.thread = Thread(target=self._serve, daemon=True)
        self.thread.start()
        return self.door.getsockname()[1]

    def _serve(self):
        while True:
            try:
                guest, _ = self.door.accept()
            except OSError:
                return
            self.guests.append(guest)
            if self.says:
                guest.sendall(self.says)
                guest.shutdown(socket.SHUT_WR)

    def __exit__(self, *_):
        self.door.shutdown(socket.SHUT_RDWR)
        self.door.close()
        self.thread.join(180)
        for guest in self.guests:
            guest.close()
