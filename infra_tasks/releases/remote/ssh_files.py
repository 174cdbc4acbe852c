"""What ssh needs on this node: our own known hosts, and the configuration the system's ssh is started with.

    <root>/ssh/known_hosts   the host keys a person accepted: the only ones that count
    <root>/ssh/config        if it is there: options of this node (IdentityFile ...) instead of those in ~/.ssh/config

The control sockets of kept connections live in a short folder, since a socket's path may have 104 bytes at most.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from infra_tasks.errors import ReleaseError
from infra_tasks.releases import sidecar

if TYPE_CHECKING:
    from infra_tasks.settings import Home

CONNECT_S = 10
# A link that is silent for so long, three times, is cut.
ALIVE_EVERY_S = 5
ALIVE_MISSED = 3
# How long ssh keeps a connection nobody uses.
KEPT_S = 300

# What stands first counts: whatever the user's own file says of host keys comes too late. An old ssh does not know all
# of it (KnownHostsCommand), nor need it.
_CONFIG = """\
Host *
  BatchMode yes
  ConnectTimeout {connect_s}
  ServerAliveInterval {alive_s}
  ServerAliveCountMax {missed}
  IgnoreUnknown *
  StrictHostKeyChecking yes
  UserKnownHostsFile "{known_hosts}"
  GlobalKnownHostsFile /dev/null
  KnownHostsCommand none
  VerifyHostKeyDNS no
  NoHostAuthenticationForLocalhost no
  UpdateHostKeys no
  ControlMaster auto
  ControlPersist {kept_s}
  ControlPath {sockets}/%C-{accepted}
  ClearAllForwardings yes
  ForwardAgent no
  RequestTTY no
  PermitLocalCommand no
  RemoteCommand none
  LogLevel ERROR
  Ciphers ^aes128-gcm@openssh.com
  Include "{include}"
"""


class SshFiles:
    """The files of one node."""

    def __init__(self, home: Home) -> None:
        self.home = home
        self._folder = home.root / "ssh"

    @property
    def known_hosts(self) -> Path:
        """The host keys that were accepted."""
        return self._folder / "known_hosts"

    @property
    def own_config(self) -> Path | None:
        """This node's own options for ssh, if somebody wrote any."""
        path = self._folder / "config"
        return path if path.exists() else None

    def accepted_mark(self) -> str:
        """Return what is another text as soon as other keys are accepted: no connection of before is used then."""
        return hashlib.sha256(sidecar.read(self.known_hosts) or b"").hexdigest()[:8]

    def client_config(self) -> Path:
        """Return the configuration for `ssh -F`, written anew when it is not what it should be."""
        sockets = _short_folder(self._folder)
        path = sockets / "config"
        text = _CONFIG.format(
            connect_s=CONNECT_S,
            alive_s=ALIVE_EVERY_S,
            missed=ALIVE_MISSED,
            kept_s=KEPT_S,
            known_hosts=_literal(self.known_hosts),
            sockets=sockets,
            accepted=self.accepted_mark(),
            include=_glob(self.own_config or Path("~/.ssh/config").expanduser()),
        ).encode()
        if sidecar.read(path) != text:
            sidecar.write(path, text)
        return path


def _literal(path: Path) -> str:
    """Return a path for between quotes in which ssh finds nothing to replace."""
    return os.fspath(path).replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")


def _glob(path: Path) -> str:
    """Return a path for Include, which knows no %% before OpenSSH 9.9, and takes every path for a pattern."""
    return re.sub(r'[%*?"\[\]\\]', "?", os.fspath(path))


def _short_folder(of: Path) -> Path:
    """Return a folder of ours with a short name; nobody else can write there."""
    mark = hashlib.sha256(os.fsencode(of)).hexdigest()[:8]
    path = Path(f"/tmp/infra-{os.getuid()}-{mark}")  # noqa: S108  its owner and mode are looked at
    path.mkdir(mode=0o700, exist_ok=True)
    found = path.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise ReleaseError(f"{path} is not a folder of ours alone (0700): remove it, ssh keeps its sockets there")
    return path
