"""Where the fleet's Redis is: "embedded", or the URL of one somewhere else."""

from __future__ import annotations

import re

from infra_tasks.model.nearest import did_you_mean

EMBEDDED = "embedded"
SCHEMES = ("redis", "rediss", "redis+sentinel", "rediss+sentinel")
RULE = '"embedded", or a URL like redis://HOST:PORT/0, rediss://... or redis+sentinel://HOST:PORT,HOST:PORT/NAME'
PARTS = re.compile(r"(?P<scheme>[a-z+]+)://(?:[^@\s]*@)?(?P<hosts>[^/?#\s@]+)(?:[/?#]\S*)?")
HOST = re.compile(r"(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::(?P<port>[0-9]{1,5}))?")


def check_broker(text: str) -> str:
    """Return `text` if it names a broker; raise ValueError otherwise. The message never holds the URL's login."""
    if text == EMBEDDED:
        return text
    parts = PARTS.fullmatch(text)
    if parts is None:
        raise ValueError(f"allowed: {RULE}{did_you_mean(text, [EMBEDDED])}")
    if parts["scheme"] not in SCHEMES:
        raise ValueError(f"unknown scheme {parts['scheme']!r}{did_you_mean(parts['scheme'], SCHEMES)} allowed: {RULE}")
    hosts = parts["hosts"].split(",")
    if len(hosts) > 1 and not parts["scheme"].endswith("sentinel"):
        raise ValueError(f"several hosts need redis+sentinel://; allowed: {RULE}")
    for host in hosts:
        _check_host(host)
    return text


def _check_host(text: str) -> None:
    host = HOST.fullmatch(text)
    if host is None or (host["port"] and not 1 <= int(host["port"]) <= 65535):
        raise ValueError(f"{text[:60]!r} is not HOST or HOST:PORT (port 1 to 65535); allowed: {RULE}")
