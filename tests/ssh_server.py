"""A real sshd for tests: own host key, own user key, own port; cut, frozen, killed and brought back at will."""

from __future__ import annotations

import os
import pwd
import shlex
import shutil
import signal
import socket
import subprocess
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

import psutil
from redis_process import free_port
from waiting import eventually

LOOPBACK = "127.0.0.1"
PRIVSEP = Path("/run/sshd")  # Debian's sshd will not start as root without this folder, which goes with every reboot
MARK = "INFRA_TEST_SSHD"  # in the environment of all that was ever started through a server
USUAL_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/opt/homebrew/bin"
TRIES = 5  # the kernel's free port may be somebody else's a moment later


def sshd_binary() -> str:
    """Return the system's sshd; it is no command of a user, so it may not be on PATH."""
    found = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin:/opt/homebrew/sbin")
    assert found, "sshd is missing: make setup-dev brings it (Debian, Ubuntu: apt install openssh-server)"
    return found


def user() -> str:
    """Return who tests run as, and log in as."""
    return pwd.getpwuid(os.getuid()).pw_name


class SshServer:
    """One server. `host` is where it listens, `inside` comes before its command (a network namespace), `key` is the
    user's key it admits (its own, if none is given), `path` the PATH of its sessions, and `home` their HOME.
    """

    def __init__(
        self,
        folder: Path,
        *,
        host: str = LOOPBACK,
        inside: tuple[str, ...] = (),
        key: Path | None = None,
        path: str = USUAL_PATH,
        home: Path | None = None,
    ) -> None:
        self.folder = folder
        self.folder.mkdir(parents=True, exist_ok=True)
        self.host = host
        self.port = 0
        self.path = path
        self.home = home
        self.greeting = ""
        self.process: subprocess.Popen[bytes] | None = None
        self.user_key = key or self._new_key("user_key")
        self._inside = inside
        self._orphans: list[psutil.Process] = []
        self._mark = uuid4().hex
        self._new_key("host_key")

    @property
    def address(self) -> str:
        """The address as nodes.json says it."""
        return f"{user()}@{self.host}:{self.port}"

    @property
    def known_hosts_line(self) -> str:
        """The host key as a known_hosts file holds it."""
        kind, key, *_ = (self.folder / "host_key.pub").read_text().split()
        return f"[{self.host}]:{self.port} {kind} {key}\n"

    def fingerprint(self) -> str:
        """Return SHA256:... of the host key, as ssh-keygen says it."""
        said = _run("ssh-keygen", "-lf", str(self.folder / "host_key.pub"))
        return said.split()[1]

    def start(self) -> SshServer:
        _make_room_for_root()
        for _ in range(TRIES):
            self.port = self.port or free_port()
            if self._started():
                return self
            self.port = 0
        raise AssertionError(f"sshd does not start:\n{self.log()}")

    def kill(self) -> None:
        """End the server. Sessions go on, as sshd's do."""
        if self.process:
            self._orphans = self.sessions()
            self.process.kill()
            self.process.wait()
            self.process = None

    def restart(self, *, new_host_key: bool = False, path: str | None = None) -> SshServer:
        """Start again at the same port; sessions of before are cut."""
        self.cut()
        self.kill()
        self.path = self.path if path is None else path
        if new_host_key:
            self._new_key("host_key")
        assert self._started(), f"sshd does not come back on port {self.port}:\n{self.log()}"
        return self

    def sessions(self) -> list[psutil.Process]:
        """Return the server's own processes behind open connections."""
        return [one for one in [*self._descendants(), *self._orphans] if _name(one).startswith("sshd")]

    def cut(self) -> None:
        """End all connections at once; the commands behind them see end of file."""
        _signal_all(self.sessions(), signal.SIGKILL)

    def freeze(self) -> None:
        """Let nothing answer any more, without an end of any connection: a link that went silent."""
        _signal_all(self._server(), signal.SIGSTOP)
        _signal_all(self._descendants(), signal.SIGSTOP)

    def thaw(self) -> None:
        _signal_all([*self._descendants(), *self._server()], signal.SIGCONT)

    def commands(self, *words: str) -> list[psutil.Process]:
        """Return what was started through this server and still lives, if its command line has all these words."""
        found = [one for one in self._marked() if not _name(one).startswith("sshd")]
        return [one for one in found if all(word in _line(one) for word in words)]

    def kill_commands(self, *words: str) -> None:
        """kill -9 of those; some end by themselves as soon as another one of them is gone."""
        _signal_all(self.commands(*words), signal.SIGKILL)

    def admit(self, root: Path) -> None:
        """Write what a node needs to log in here: `<root>/ssh/config` names the key, `known_hosts` the host's."""
        config = root / "ssh" / "config"
        config.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        config.write_text(f"IdentityFile {self.user_key}\nIdentitiesOnly yes\n")
        self.introduce(root)

    def introduce(self, root: Path) -> None:
        """Have a node know this server's present host key, and no other one at this address."""
        known = root / "ssh" / "known_hosts"
        known.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        others = [line for line in _lines(known) if not line.startswith(f"[{self.host}]:{self.port} ")]
        known.write_text("".join([*others, self.known_hosts_line]))

    def log(self) -> str:
        return (self.folder / "log").read_text(errors="replace")[-3000:]

    def close(self) -> None:
        """End everything that was ever started here, frozen or not."""
        self.thaw()
        self.cut()
        self.kill()
        _signal_all(self._marked(), signal.SIGKILL)

    def _started(self) -> bool:
        (self.folder / "config").write_text(self._config())
        argv = [*self._inside, sshd_binary(), "-D", "-e", "-f", str(self.folder / "config")]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        process = self.process
        eventually(lambda: process.poll() is not None or self.answers(), 20, f"sshd on {self.port}: {self.log()}")
        return process.poll() is None

    def answers(self) -> bool:
        """Say whether a connection is greeted."""
        with suppress(OSError), socket.create_connection((self.host, self.port), timeout=2) as door:
            return door.recv(4) == b"SSH-"
        return False

    def _config(self) -> str:
        said = {
            "Port": self.port,
            "ListenAddress": self.host,
            "HostKey": self.folder / "host_key",
            "AuthorizedKeysFile": f"{self.user_key}.pub",
            "PidFile": self.folder / "pid",
            "UsePAM": "no",
            "StrictModes": "no",  # the folders above belong to whoever made the place for tests
            "PermitRootLogin": "prohibit-password",
            "PasswordAuthentication": "no",
            "KbdInteractiveAuthentication": "no",
            "UseDNS": "no",
            "PrintMotd": "no",
            "PrintLastLog": "no",
            "MaxStartups": 200,
            "LogLevel": "VERBOSE",
            "SetEnv": f"{MARK}={self._mark}",
            "ForceCommand": self._session(),
        }
        return "".join(f"{name} {value}\n" for name, value in said.items())

    def _session(self) -> Path:
        """Write what every session runs: the start files of a shell have their own idea of PATH."""
        script = self.folder / "session"
        begin = [f"PATH={self.path}", "export PATH"]
        if self.home:
            begin += [f"HOME={shlex.quote(str(self.home))}", "export HOME", "cd"]
        if self.greeting:
            begin += [f"echo {shlex.quote(self.greeting)}"]
        script.write_text("\n".join(["#!/bin/sh", *begin, 'exec /bin/sh -c "$SSH_ORIGINAL_COMMAND"', ""]))
        script.chmod(0o755)
        return script

    def _new_key(self, name: str) -> Path:
        path = self.folder / name
        for old in (path, path.with_suffix(".pub")):
            old.unlink(missing_ok=True)
        _run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", str(path))
        return path

    def _server(self) -> list[psutil.Process]:
        with suppress(psutil.Error):
            return [psutil.Process(self.process.pid)] if self.process else []
        return []

    def _descendants(self) -> list[psutil.Process]:
        with suppress(psutil.Error):
            return [one for server in self._server() for one in server.children(recursive=True)]
        return []

    def _marked(self) -> list[psutil.Process]:
        found = []
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                if process.environ().get(MARK) == self._mark:
                    found.append(process)
        return found


def _make_room_for_root() -> None:
    if os.geteuid() != 0 or not Path("/etc/debian_version").exists():
        return
    try:
        PRIVSEP.mkdir(mode=0o755, exist_ok=True)
    except OSError as error:
        raise AssertionError(f"sshd needs {PRIVSEP} as root: mkdir -m 755 {PRIVSEP} ({error.strerror})") from error


def _run(*argv: str) -> str:
    return subprocess.run(argv, check=True, capture_output=True, text=True, timeout=180).stdout


def _lines(path: Path) -> list[str]:
    with suppress(FileNotFoundError):
        return path.read_text().splitlines(keepends=True)
    return []


def _name(process: psutil.Process) -> str:
    with suppress(psutil.Error):
        return process.name()
    return ""


def _line(process: psutil.Process) -> str:
    with suppress(psutil.Error):
        return " ".join(process.cmdline())
    return ""


def _signal_all(processes: list[psutil.Process], number: int) -> None:
    for process in processes:
        with suppress(psutil.Error):
            process.send_signal(number)
