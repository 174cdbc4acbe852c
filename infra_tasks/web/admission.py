"""Who may look through the window: who knows the password, or has a session that a key was given for. Pure.

A session is a moment and a signature made with the password: it outlives a restart of the role, never a new password.
"""

from __future__ import annotations

import hmac
from base64 import b64encode
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Mapping

USER = "infra"
SESSION_S = 12 * 3600
HERE = frozenset({"127.0.0.1", "localhost", "::1"})
HARMLESS = frozenset({"GET", "HEAD"})


@dataclass(frozen=True)
class Admission:
    """The window's password, and the name of its cookie: one for each port, as cookies know no ports."""

    password: str = field(repr=False)
    cookie: str

    @property
    def basic(self) -> str:
        """The Authorization header of who knows the password."""
        return "Basic " + b64encode(f"{USER}:{self.password}".encode()).decode()

    def admits(self, authorization: str, session: str, now: float) -> bool:
        """Say whether a request with this header or this cookie may come in; `now` in wall seconds."""
        return _same(authorization, self.basic) or self._is_session(session, now)

    def session(self, now: float) -> str:
        """Return a cookie that is good for SESSION_S."""
        until = str(int(now) + SESSION_S)
        return f"{until}.{self._signature(until)}"

    def _is_session(self, text: str, now: float) -> bool:
        until, _, signature = text.partition(".")
        return _same(signature, self._signature(until)) and 0 < int(until) - now <= SESSION_S

    def _signature(self, until: str) -> str:
        return hmac.digest(self.password.encode(), f"session {until}".encode(errors="replace"), "sha256").hex()


def refusal(method: str, headers: Mapping[str, str]) -> str | None:
    """Return why a request is refused whoever sends it, None when it is not.

    A name of the internet that was made to point here (DNS rebinding) is no name of this window; and what changes
    something must come from one of its own pages, or from no page at all.
    """
    host = headers.get("Host", "")
    if _name_in(host) not in HERE:
        return "this window answers to 127.0.0.1 and localhost only (from elsewhere: an ssh tunnel)"
    if method in HARMLESS:
        return None
    origin, site = headers.get("Origin"), headers.get("Sec-Fetch-Site")
    if (origin is not None and origin != f"http://{host}") or site not in {None, "same-origin", "none"}:
        return "the page this was sent from is none of this window's"
    return None


def _name_in(host: str) -> str | None:
    try:
        return urlsplit(f"//{host}").hostname
    except ValueError:
        return None


def _same(found: str, wanted: str) -> bool:
    return hmac.compare_digest(found.encode(errors="replace"), wanted.encode())
