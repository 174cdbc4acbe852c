"""Flower behind our door: every request is looked at before any of its pages is."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any

from flower.app import Flower
from flower.utils.blocking import BlockingOperationRunner
from tornado.web import OutputTransform, RequestHandler

from infra_tasks.errors import FleetUnreachable
from infra_tasks.web.admission import SESSION_S, refusal
from infra_tasks.web.doorkey import DOOR, take_key
from infra_tasks.web.peer import is_stranger

if TYPE_CHECKING:
    from tornado.httputil import HTTPHeaders, HTTPServerRequest

    from infra_tasks.settings import Home
    from infra_tasks.web.admission import Admission

# What tells nothing: whether it lives, and the looks of its pages.
OPEN_TO_ALL = ("/healthcheck", "/static/")
ASKED = (
    "Flower asks for a name and a password. `infra open` opens it logged in; `infra open --print` says where the "
    "password is.\n"
)
NO_KEY = "This key was used before, or is older than a minute. `infra open` makes a new one.\n"


class Window(Flower):  # type: ignore[misc]
    """Flower's web application, with a door."""

    def __init__(self, home: Home, admission: Admission, **options: Any) -> None:
        super().__init__(**options)
        self._home = home
        self._admission = admission
        self.add_transform(Unframed)
        self.blocking_runner = Runner(self.executor)

    def find_handler(self, request: HTTPServerRequest, **options: Any) -> Any:
        """Return what answers: the door, or Flower for who may come in."""
        why = refusal(request.method or "", request.headers)
        if why:
            return self.get_handler_delegate(request, Refused, {"status": 403, "why": f"Refused: {why}.\n"})
        if request.path == DOOR:
            return self.get_handler_delegate(request, Door, {"home": self._home, "admission": self._admission})
        if not request.path.startswith(OPEN_TO_ALL):
            if not self._admits(request):
                return self.get_handler_delegate(request, Refused, {"status": 401, "why": ASKED})
            # A session is as good as the password, which is all that Flower's own pages know of.
            request.headers["Authorization"] = self._admission.basic
        return super().find_handler(request, **options)

    def _admits(self, request: HTTPServerRequest) -> bool:
        cookie = request.cookies.get(self._admission.cookie)
        session = cookie.value if cookie else ""
        return self._admission.admits(request.headers.get("Authorization", ""), session, time.time())


class Runner(BlockingOperationRunner):  # type: ignore[misc]
    """Flower's way to do what takes time; a ledger that is away is told like a broker that is away, not as a fault."""

    async def run(self, *what: Any, connection_errors: tuple[type[Exception], ...] = (), **options: Any) -> Any:
        """Do it, and raise an error of HTTP where it cannot be done."""
        return await super().run(*what, connection_errors=(*connection_errors, FleetUnreachable), **options)


class Refused(RequestHandler):
    """The answer to who may not come in, whatever was asked for."""

    def initialize(self, status: int, why: str) -> None:
        """Take what to say."""
        self._status, self._why = status, why

    def prepare(self) -> None:
        """Answer, before the method of the request matters."""
        self.set_status(self._status)
        self.set_header("Content-Type", "text/plain; charset=utf-8")
        if self._status == 401:
            self.set_header("WWW-Authenticate", 'Basic realm="infra", charset="UTF-8"')
        self.finish(self._why)


class Door(RequestHandler):
    """Takes a key and gives a session for it."""

    def initialize(self, home: Home, admission: Admission) -> None:
        """Take where the keys are and who makes sessions."""
        self._home, self._admission = home, admission

    def get(self) -> None:
        """Let in who has a key, once."""
        now = time.time()
        self.set_header("Cache-Control", "no-store")
        self.set_header("Referrer-Policy", "no-referrer")
        if self._is_strangers() or not take_key(self._home, self.get_query_argument("key", ""), now):
            self.set_status(403)
            self.set_header("Content-Type", "text/plain; charset=utf-8")
            self.finish(NO_KEY)
            return
        session = self._admission.session(now)
        self.set_cookie(self._admission.cookie, session, httponly=True, samesite="Strict", max_age=SESSION_S)
        self.redirect("/", status=303)

    def _is_strangers(self) -> bool:
        """Say whether another user of this machine has read the key where it is no secret: in a list of processes."""
        connection: Any = self.request.connection
        address, port = connection.context.address[:2]
        return is_stranger(address, port, os.getuid())


class Unframed(OutputTransform):
    """No page of another site may show ours inside: a click there would be a click here."""

    def transform_first_chunk(
        self,
        status_code: int,
        headers: HTTPHeaders,
        chunk: bytes,
        finishing: bool,  # noqa: FBT001  Tornado's signature
    ) -> tuple[int, HTTPHeaders, bytes]:
        """Say so on every answer."""
        headers["X-Frame-Options"] = "DENY"
        headers["Content-Security-Policy"] = "frame-ancestors 'none'"
        return super().transform_first_chunk(status_code, headers, chunk, finishing)
