"""Ask a host which key it shows. Nothing is told it, not even who asks: nobody logs in."""

from __future__ import annotations

import logging
import socket
import time
from contextlib import closing
from threading import Event
from typing import TYPE_CHECKING

from infra_tasks.errors import NodeUnreachable
from infra_tasks.releases.remote.host_key import HostKey, where

if TYPE_CHECKING:
    from collections.abc import Sequence

    from paramiko import Transport

    from infra_tasks.model.ssh_address import SshAddress

# Paramiko writes a traceback into its log for a port where no ssh server listens; our error says it all.
QUIET = "infra_tasks.releases.shown_key"
# A known RSA key is asked for by the names of its signatures (RFC 8332).
SIGNED_AS = {"ssh-rsa": ("rsa-sha2-512", "rsa-sha2-256")}
FIRST_CHOICE = "ssh-ed25519"


def shown_key(address: SshAddress, within_s: float, *, prefer: Sequence[HostKey] = ()) -> HostKey:
    """Return the key a host shows; of several types that of `prefer` (keys that are known), else ed25519.

    Raises NodeUnreachable, saying why, when there is none `within_s` seconds (looking the name up not counted).
    """
    from paramiko import SSHException, Transport  # noqa: PLC0415  costs 0.2 s
    from paramiko.ssh_exception import IncompatiblePeer  # noqa: PLC0415

    deadline = time.monotonic() + within_s
    door = _door(address, deadline)
    with closing(door):
        try:
            with closing(Transport(door)) as transport:
                return _shown(transport, deadline, prefer)
        except IncompatiblePeer as error:
            raise _unreachable(address, f"its ssh server and this one have nothing in common ({error})") from error
        except TimeoutError as error:
            said = f"nothing that speaks ssh answers at port {address.port} within {within_s:g} s"
            raise _unreachable(address, said) from error
        except (SSHException, EOFError, OSError) as error:
            said = f"what answers at port {address.port} is no ssh server, or it hung up ({error or 'end of file'})"
            raise _unreachable(address, said) from error


def _door(address: SshAddress, deadline: float) -> socket.socket:
    """Connect to the first of the host's addresses that takes us."""
    try:
        found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        why = getattr(error, "strerror", None) or error
        raise _unreachable(address, f"the name {address.host!r} leads nowhere ({why})") from error
    for at, (family, kind, protocol, _, place) in enumerate(found):
        door = socket.socket(family, kind, protocol)
        door.settimeout(max(0.05, deadline - time.monotonic()))
        try:
            door.connect(place)
        except OSError as error:
            door.close()
            if at == len(found) - 1:
                raise _unreachable(address, str(error.strerror or error)) from error
        else:
            return door
    raise _unreachable(address, f"the name {address.host!r} has no address")


def _shown(transport: Transport, deadline: float, prefer: Sequence[HostKey]) -> HostKey:
    logging.getLogger(QUIET).setLevel(logging.CRITICAL + 1)
    transport.set_log_channel(QUIET)
    options = transport.get_security_options()
    options.key_types = _in_order(options.key_types, [key.type for key in prefer])
    agreed = Event()
    transport.start_client(event=agreed)
    if not agreed.wait(max(0.0, deadline - time.monotonic())):
        raise TimeoutError
    failure = transport.get_exception()
    if failure is not None:
        raise failure
    key = transport.get_remote_server_key()
    return HostKey(key.get_name(), key.get_base64())


def _in_order(able: Sequence[str], known: Sequence[str]) -> tuple[str, ...]:
    """Return the types we are able to check, the wanted ones first."""
    wanted = [name for kind in known for name in SIGNED_AS.get(kind, (kind,)) if name in able]
    return tuple(dict.fromkeys([*wanted, FIRST_CHOICE, *able]))


def _unreachable(address: SshAddress, why: str) -> NodeUnreachable:
    return NodeUnreachable(f"{where(address)} cannot be reached over ssh: {why}")
