"""How to reach a node: "local", or user@host[:port]."""

from __future__ import annotations

import re
from dataclasses import dataclass

from infra_tasks.model.nearest import did_you_mean

LOCAL = "local"
DEFAULT_PORT = 22
LOOPBACK = ("localhost", "127.0.0.1", "::1")
RULE = '"local", or user@host, or user@host:port'
# Neither part may begin with '-': ssh would take it for an option.
ADDRESS = re.compile(
    r"(?P<user>[A-Za-z0-9_.][A-Za-z0-9_.-]*)@"
    r"(?:(?P<name>[A-Za-z0-9][A-Za-z0-9_.-]*)|\[(?P<ip6>[0-9A-Fa-f:.]+(?:%[A-Za-z0-9]+)?)\])"
    r"(?::(?P<port>[0-9]{1,5}))?"
)


@dataclass(frozen=True)
class SshAddress:
    """A node reached over ssh."""

    user: str
    host: str
    port: int = DEFAULT_PORT

    @property
    def machine(self) -> str:
        """Which machine this is, as far as the address tells; loopback is this one."""
        if self.host in LOOPBACK and self.port == DEFAULT_PORT:
            return LOCAL
        return f"{self.host.lower().rstrip('.')}:{self.port}"


def ssh_address(text: str) -> SshAddress | None:
    """Return the address in `text`, None for "local"; raise ValueError if it is neither."""
    if text == LOCAL:
        return None
    parts = ADDRESS.fullmatch(text)
    if parts is None:
        raise ValueError(f"allowed: {RULE}{did_you_mean(text, [LOCAL])}")
    port = int(parts["port"] or DEFAULT_PORT)
    if not 1 <= port <= 65535:
        raise ValueError(f"port {port} is not from 1 to 65535; allowed: {RULE}")
    return SshAddress(parts["user"], parts["name"] or parts["ip6"], port)
