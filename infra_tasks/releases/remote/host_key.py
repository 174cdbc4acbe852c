"""A host key, what is to be thought of one that was shown, and the words for it. Pure."""

from __future__ import annotations

import base64
import binascii
import hashlib
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from infra_tasks.errors import HostKeyRefused
from infra_tasks.model.ssh_address import DEFAULT_PORT

if TYPE_CHECKING:
    from collections.abc import Sequence

    from infra_tasks.model.ssh_address import SshAddress


@dataclass(frozen=True)
class HostKey:
    """What a host proves itself with: type ("ssh-ed25519") and public key in base64, as known_hosts has them."""

    type: str
    base64: str

    @property
    def fingerprint(self) -> str:
        """The key in short, as `ssh-keygen -l` prints it: "SHA256:" and 43 characters."""
        digest = hashlib.sha256(base64.b64decode(self.base64)).digest()
        return "SHA256:" + base64.b64encode(digest).decode().rstrip("=")

    def __str__(self) -> str:
        return f"{self.type} {self.fingerprint}"


class Judgement(Enum):
    """What our known_hosts says of a key that was shown."""

    UNKNOWN = "unknown"
    SAME = "same"
    CHANGED = "changed"


def key_of(kind: str, text: str) -> HostKey | None:
    """Return the key of two words of a known_hosts file, None if they are no key."""
    try:
        blob = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None
    named = len(kind).to_bytes(4, "big") + kind.encode("utf-8", "replace")
    return HostKey(kind, text) if blob.startswith(named) else None


def judge(known: Sequence[HostKey], shown: HostKey) -> Judgement:
    """Say what a shown key is to somebody who knows these keys of the host.

    A key of another type than the known ones is a changed one: the host was asked for the known types first.
    """
    if shown in known:
        return Judgement.SAME
    return Judgement.CHANGED if known else Judgement.UNKNOWN


def refused(node: str, address: SshAddress, known: Sequence[HostKey], shown: HostKey | None) -> HostKeyRefused:
    """Return the error for a host key that is not the accepted one. `shown`: None if it was not seen, only refused."""
    words = changed_words if known else unknown_words
    return HostKeyRefused(words(node, address, known, shown))


def unknown_words(node: str, address: SshAddress, known: Sequence[HostKey], shown: HostKey | None) -> str:
    """Return the sentences for a host nothing is known of."""
    assert not known
    found = f"\nIt shows {shown}." if shown else ""
    return (
        f"the host key of {node} ({where(address)}) is unknown here, so nothing was sent there.{found}\n"
        f"Compare it and accept it with `infra key accept {node}`."
    )


def changed_words(node: str, address: SshAddress, known: Sequence[HostKey], shown: HostKey | None) -> str:
    """Return the sentences for a host that shows another key than the accepted one."""
    return (
        f"THE HOST KEY OF {node} ({where(address)}) HAS CHANGED, so nothing was sent there.\n"
        f"found {shown or 'another one'}, known {', '.join(map(str, known))}\n"
        f"Was the machine set up anew? Then accept its new key with `infra key accept {node}`. "
        "If not, somebody may stand in between: ask whoever looks after the machine."
    )


def where(address: SshAddress) -> str:
    """Return an address as nodes.json says it, the usual port left out."""
    host = f"[{address.host}]" if ":" in address.host else address.host
    return f"{address.user}@{host}" + ("" if address.port == DEFAULT_PORT else f":{address.port}")
