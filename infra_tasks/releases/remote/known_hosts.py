"""Which host keys this node has accepted: `<root>/ssh/known_hosts`, in OpenSSH's format, for ssh and Fabric alike.

Lines we do not understand are left as they are. Several processes may write: one at a time, beside, then renamed.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import re
from contextlib import contextmanager
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, NamedTuple
from uuid import uuid4

from infra_tasks.model.ssh_address import DEFAULT_PORT
from infra_tasks.releases.locks import held
from infra_tasks.releases.remote.host_key import HostKey, Judgement, judge, key_of, refused
from infra_tasks.releases.remote.shown_key import shown_key
from infra_tasks.releases.trouble import said_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from infra_tasks.model.ssh_address import SshAddress
    from infra_tasks.settings import Home

__all__ = ["Accepted", "HostKey", "Judgement", "accept", "accepted", "file_of", "forget", "host_name", "judge"]
__all__ += ["known", "known_in", "refused", "shown_key"]

_HASHED = re.compile(r"\|1\|([^|]+)\|(.+)")


class Accepted(NamedTuple):
    """One accepted key: the names of its host, as the file has them, and the key."""

    names: tuple[str, ...]
    key: HostKey


def file_of(home: Home) -> Path:
    """Return the file: what ssh calls UserKnownHostsFile."""
    return home.root / "ssh" / "known_hosts"


def host_name(address: SshAddress) -> str:
    """Return the name a host has in known_hosts: as OpenSSH writes it, in small letters."""
    return _named(address.host.lower(), address.port)


def known(home: Home, address: SshAddress) -> list[HostKey]:
    """Return the keys that were accepted for a host. Raises ReleaseError when the file cannot be read."""
    with said_of("accepted host keys cannot be read", file_of(home).parent):
        return known_in(file_of(home), address)


def known_in(path: Path, address: SshAddress) -> list[HostKey]:
    """Return the keys any known_hosts file has for a host. Raises OSError when it cannot be read."""
    name = host_name(address)
    return [line.key for line in _read(path) if line.key and line.speaks_of(name)]


def accepted(home: Home) -> list[Accepted]:
    """Return all that was accepted. Raises ReleaseError when the file cannot be read."""
    with said_of("accepted host keys cannot be read", file_of(home).parent):
        return [Accepted(line.names, line.key) for line in _read(file_of(home)) if line.key]


def accept(home: Home, address: SshAddress, key: HostKey) -> None:
    """Trust this key of the host from now on, and no other one. Raises ReleaseError when that cannot be written."""
    names = dict.fromkeys((host_name(address), _named(address.host, address.port)))  # paramiko minds capital letters
    with _changing(home) as change:
        change(lambda lines: [*_without(lines, address), _Line(f"{','.join(names)} {key.type} {key.base64}")])


def forget(home: Home, address: SshAddress) -> list[HostKey]:
    """Trust no key of the host any more; return those that were known. Raises ReleaseError."""
    before = known(home, address)
    if before:
        with _changing(home) as change:
            change(lambda lines: _without(lines, address))
    return before


@dataclass(frozen=True)
class _Line:
    """One line of the file."""

    text: str

    @property
    def names(self) -> tuple[str, ...]:
        words = self._words()
        return tuple(words[0].split(",")) if words else ()

    @property
    def key(self) -> HostKey | None:
        words = self._words()
        return key_of(words[1], words[2]) if words else None

    def _words(self) -> list[str]:
        """Return names, type and key; nothing for a comment, and for marks like @revoked, which are ssh's business."""
        words = self.text.split()
        return [] if len(words) < 3 or words[0][0] in "#@" else words[:3]

    def speaks_of(self, name: str) -> bool:
        """Say whether a line is about a host: by name, by pattern, or by the hash of its name."""
        return _speak_of(self.names, name)

    def without(self, names: set[str]) -> _Line | None:
        """Return the line without these names, None if it is about nothing else; a pattern gets them as exceptions."""
        left = [each for each in self.names if not any(_is(each, name) for name in names)]
        left += [f"!{name}" for name in names if _speak_of(left, name)]
        if left == list(self.names):
            return self
        return replace(self, text=" ".join([",".join(left), *self.text.split()[1:]])) if left else None


def _speak_of(names: Sequence[str], name: str) -> bool:
    fits = [each for each in names if _fits(each.removeprefix("!"), name)]
    return bool(fits) and not any(each.startswith("!") for each in fits)


def _fits(pattern: str, name: str) -> bool:
    if _is(pattern, name):
        return True
    # "[" is no wildcard to OpenSSH: it begins a name with a port.
    return any(sign in pattern for sign in "*?") and fnmatchcase(name, pattern.lower().replace("[", "[[]"))


def _is(written: str, name: str) -> bool:
    hashed = _HASHED.fullmatch(written)
    if hashed is None:
        return written.lower() == name.lower()
    try:
        salt, digest = (base64.b64decode(part) for part in hashed.groups())
    except ValueError:
        return False
    return hmac.compare_digest(hmac.digest(salt, name.encode(), hashlib.sha1), digest)


def _named(host: str, port: int) -> str:
    return host if port == DEFAULT_PORT else f"[{host}]:{port}"


def _without(lines: list[_Line], address: SshAddress) -> list[_Line]:
    names = {host_name(address)}
    return [left for line in lines if (left := line.without(names)) is not None]


def _read(path: Path) -> list[_Line]:
    try:
        text = path.read_bytes().decode("utf-8", "surrogateescape")
    except (FileNotFoundError, NotADirectoryError):
        return []
    return [_Line(line) for line in text.removesuffix("\n").split("\n")] if text else []


@contextmanager
def _changing(home: Home) -> Iterator[Callable[[Callable[[list[_Line]], list[_Line]]], None]]:
    """Give a function that changes the lines; nobody else does meanwhile."""
    path = file_of(home)

    def change(how: Callable[[list[_Line]], list[_Line]]) -> None:
        text = "".join(f"{line.text}\n" for line in how(_read(path)))
        beside = path.with_name(f".known_hosts.{os.getpid()}.{uuid4().hex[:8]}")
        fd = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with open(fd, "wb") as file:  # noqa: PTH123  it is an fd
            file.write(text.encode("utf-8", "surrogateescape"))
        beside.replace(path)

    with said_of("accepted host keys cannot be kept", path.parent):
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with held(path.with_name("known_hosts.lock")):
            yield change
