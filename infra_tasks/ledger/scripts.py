"""Loads the Lua scripts and calls them: every change of the ledger is one of these calls.

A call that loses its answer is repeated with the same arguments until its deadline: every script gives the same answer
again (by nonce, or because token, claim id or run id already make it the same question).
"""

from __future__ import annotations

import json
import time
from functools import cache
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Any

from redis.exceptions import BusyLoadingError, ConnectionError, ReadOnlyError, ResponseError, TimeoutError  # noqa: A004

from infra_tasks.errors import FleetUnreachable
from infra_tasks.model.run import FINAL, MOVES

if TYPE_CHECKING:
    from redis import Redis
    from redis.commands.core import Script

PREFIX = "infra:"
# How long a call keeps trying, unless its caller says otherwise.
PATIENCE_S = 10.0
RETRY_EVERY_S = 0.1
LOST_ANSWER = (ConnectionError, TimeoutError, BusyLoadingError, ReadOnlyError)

_LUA = Path(__file__).parent / "lua"


def _tables() -> str:
    moves = ", ".join(
        f"{before} = {{{', '.join(f'{after} = true' for after in sorted(afters))}}}" for before, afters in MOVES.items()
    )
    final = ", ".join(f"{state} = true" for state in sorted(FINAL))
    return f"local MOVES = {{{moves}}}\nlocal FINAL = {{{final}}}\n"


@cache
def source(name: str) -> str:
    """Return the whole text of a script: tables, prelude, and the script itself."""
    return _tables() + (_LUA / "prelude.lua").read_text() + (_LUA / f"{name}.lua").read_text()


class Scripts:
    """The scripts on one connection pool. Safe to share between threads."""

    def __init__(self, client: Redis, prefix: str = PREFIX) -> None:
        self.client = client
        self.prefix = prefix
        self._loaded: dict[str, Script] = {}

    def call(self, name: str, *, patience_s: float = PATIENCE_S, **args: Any) -> Any:
        """Run a script and return its decoded answer.

        Raises FleetUnreachable when Redis did not answer for `patience_s` seconds; whether the change was made is then
        unknown, and asking again with the same arguments is safe.
        """
        script = self._loaded.get(name) or self._loaded.setdefault(name, self.client.register_script(source(name)))
        text = json.dumps({key: value for key, value in args.items() if value is not None})
        return json.loads(self.persistently(lambda: script(keys=[self.prefix], args=[text]), patience_s))

    def persistently(self, ask: Any, patience_s: float = PATIENCE_S) -> Any:
        """Ask Redis until it answers or the patience is over. Only for questions that may be repeated."""
        deadline = time.monotonic() + patience_s
        while True:
            try:
                return ask()
            except LOST_ANSWER as error:
                if time.monotonic() >= deadline:
                    raise FleetUnreachable(
                        f"Redis does not answer: {error}. Is the fleet up? See `infra status`."
                    ) from error
            except ResponseError as error:
                raise _translated(error) from error
            Event().wait(RETRY_EVERY_S)

    def key(self, *parts: object) -> str:
        """Return the name of a key of the ledger."""
        return self.prefix + ":".join(map(str, parts))


def _translated(error: ResponseError) -> Exception:
    text = str(error)
    if "OOM" in text.split(":", maxsplit=1)[0] or text.startswith("OOM"):
        return FleetUnreachable(f"Redis has no memory left and takes nothing new: {text}. Nothing accepted is lost.")
    if "MISCONF" in text:
        return FleetUnreachable(f"Redis cannot write to its disk and takes nothing new: {text}")
    return error
