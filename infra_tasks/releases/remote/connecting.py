"""An ssh connection (Fabric) that believes those host keys a person accepted, and nothing else.

Fabric by itself takes any, even a changed one, of the host and of each jump host on the way.
"""

from __future__ import annotations

import base64
import os
import socket
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Never

from fabric import Config, Connection
from paramiko import AuthenticationException, BadHostKeyException, PKey, RejectPolicy, SSHException
from paramiko.pkey import UnknownKeyType
from paramiko.ssh_exception import NoValidConnectionsError

from infra_tasks.errors import HostKeyRefused, NodeUnreachable, ReleaseError
from infra_tasks.model.ssh_address import DEFAULT_PORT, SshAddress
from infra_tasks.releases.remote.host_key import key_of, refused, where
from infra_tasks.releases.remote.known_hosts import known
from infra_tasks.releases.remote.ssh_files import CONNECT_S

if TYPE_CHECKING:
    from infra_tasks.releases.remote.peer import Peer
    from infra_tasks.releases.remote.ssh_files import SshFiles

# A proxy command is told to end, and killed when it does not.
ENDS_WITHIN_S = 5.0


def connect(files: SshFiles, peer: Peer) -> Connection:
    """Return an open connection. Raises HostKeyRefused, NodeUnreachable, and ReleaseError for options of no sense."""
    connection = _strict(files, peer)
    try:
        connection.open()
        with suppress(AttributeError):  # behind a jump host or a proxy command there is no socket of ours
            connection.transport.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    except BaseException as error:
        disconnect(connection)
        if isinstance(error, (OSError, EOFError, SSHException)):
            raise _why_not(files, peer, error) from error
        raise
    return connection


def disconnect(connection: Connection) -> None:
    """Close a connection, each jump host on the way and the process of a proxy command: Fabric leaves those behind."""
    hop = connection
    while isinstance(hop, Connection):
        transport = hop.client.get_transport()
        sock = transport.sock if transport else None
        for close in (hop.close, hop.client.close, *([sock.close] if sock else [])):
            with suppress(Exception):
                close()
        if transport is not None and transport.is_alive():
            transport.join(ENDS_WITHIN_S)  # its thread closes what it used, too
        _reap(getattr(sock, "process", None))
        hop = hop.gateway


def _reap(process: subprocess.Popen[bytes] | None) -> None:
    """Wait for a proxy command that was told to end."""
    if process is None:
        return
    for pipe in (process.stdin, process.stdout, process.stderr):
        if pipe is not None:
            with suppress(OSError):
                pipe.close()
    try:
        process.wait(ENDS_WITHIN_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(ENDS_WITHIN_S)


def _strict(files: SshFiles, peer: Peer) -> Connection:
    """Return a connection, still closed, that takes no host key but those accepted here; so does each jump host."""
    config_file = files.own_config or Path("~/.ssh/config")
    try:
        config = Config(runtime_ssh_path=os.fspath(files.own_config)) if files.own_config else Config()
        connection = Connection(
            peer.address.host,
            user=peer.address.user,
            port=peer.address.port,
            config=config,
            connect_timeout=CONNECT_S,
            connect_kwargs={
                **(config.connect_kwargs or {}),
                "banner_timeout": CONNECT_S,
                "auth_timeout": CONNECT_S,
                "channel_timeout": CONNECT_S,
            },
        )
    except (OSError, ValueError, SSHException) as error:
        raise ReleaseError(f"{config_file} (ssh's options) is not understood: {error}") from error
    _only_accepted(connection, KnownOnly(files, peer.name, peer.address))
    hop = connection.gateway
    while isinstance(hop, Connection):
        address = SshAddress(hop.user, hop.original_host, hop.port)
        _only_accepted(hop, KnownOnly(files, peer.name, address, is_hop=True))
        hop = hop.gateway
    return connection


def _only_accepted(connection: Connection, policy: KnownOnly) -> None:
    """Have a connection know the accepted keys under the name it calls, which ssh's options may have changed."""
    called = connection.host if connection.port == DEFAULT_PORT else f"[{connection.host}]:{connection.port}"
    for key in policy.accepted:
        with suppress(SSHException, ValueError, UnknownKeyType):
            readable = PKey.from_type_string(key.type, base64.b64decode(key.base64))
            connection.client.get_host_keys().add(called, readable.get_name(), readable)
    connection.client.set_missing_host_key_policy(policy)


class KnownOnly(RejectPolicy):
    """Refuses, in our words, the key of a host that none was accepted of."""

    def __init__(self, files: SshFiles, node: str, address: SshAddress, *, is_hop: bool = False) -> None:
        self.accepted = known(files.home, address)
        self._files = files
        self._node = node
        self._address = address
        self._is_hop = is_hop

    def missing_host_key(self, client: object, hostname: object, key: PKey) -> Never:  # noqa: ARG002  paramiko's
        """Raise HostKeyRefused."""
        shown = key_of(key.get_name(), key.get_base64())
        if not self._is_hop:
            raise refused(self._node, self._address, self.accepted, shown)
        raise HostKeyRefused(
            f"the host key of {where(self._address)}, the jump host on the way to {self._node}, was not accepted here, "
            f"so nothing was sent there.\nIt shows {shown}. Compare it, and put its line, as ssh-keyscan prints it, "
            f"into {self._files.known_hosts}"
        )


def _why_not(files: SshFiles, peer: Peer, error: Exception) -> ReleaseError:
    """Return what the failure of a connection means."""
    if isinstance(error, BadHostKeyException):
        shown = key_of(error.key.get_name(), error.key.get_base64())
        return refused(peer.name, peer.address, known(files.home, peer.address), shown)
    if isinstance(error, AuthenticationException):
        return NodeUnreachable(
            f"{peer.shown} lets nobody in with our keys: {error}. Put this node's public key into its "
            "~/.ssh/authorized_keys (ssh-copy-id), or name the right one in <root>/ssh/config"
        )
    return NodeUnreachable(f"{peer.shown} cannot be reached over ssh: {_words(error)}")


def _words(error: Exception) -> str:
    """Return an error's own words; paramiko wraps what several addresses of a host said."""
    if isinstance(error, NoValidConnectionsError):
        error = next(iter(error.errors.values()))
    said = error.strerror if isinstance(error, OSError) else str(error)
    return said or type(error).__name__
