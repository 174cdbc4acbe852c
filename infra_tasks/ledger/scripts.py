"""Loads the Lua scripts and calls them: every change of the ledger is one of these calls.

A call that loses its answer is repeated with the same arguments until its deadline: every script gives the same answer
again (by nonce, or because token, claim id or run id already make it the same question).
"""

from __future__ import annotations

import json
import random
import re
import time
from functools import cache
from hashlib import sha1
from pathlib import Path
from typing import TYPE_CHECKING, Any

from redis.exceptions import (
    AuthenticationError,
    BusyLoadingError,
    ConnectionError,  # noqa: A004  Redis' own
    NoScriptError,
    ReadOnlyError,
    ResponseError,
    TimeoutError,  # noqa: A004  Redis' own
)

from infra_tasks.errors import FleetUnreachable, InfraError
from infra_tasks.model.hint import DISPATCH_TASK, OUTER_BELT_S, QUEUE_MARK, RUN_TASK, TAG_MARK, envelope
from infra_tasks.model.run import FINAL, MOVES
from infra_tasks.routing import GUARDIAN

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from redis import Redis

PREFIX = "infra:"
# How long a call keeps trying, unless its caller says otherwise.
PATIENCE_S = 10.0
# Pauses between tries: the first, and what they grow to. Drawn by lot, so that a fleet does not ask in step.
FIRST_PAUSE_S = 0.1
LONGEST_PAUSE_S = 1.0
LOST_ANSWER = (ConnectionError, TimeoutError, BusyLoadingError, ReadOnlyError)
# Refusals that pass by themselves.
PASSING = ("BUSY ", "LOADING", "MASTERDOWN", "CLUSTERDOWN", "TRYAGAIN", "NOREPLICAS")

SHARED = ("prelude", "waiting")
# Read at once: a process whose files are replaced under it must go on with the scripts its code was written for.
_LUA = {path.stem: path.read_text() for path in (Path(__file__).parent / "lua").glob("*.lua")}
_MARKS = {'"@SHOWN@"': "shown", "@TASK@": "task", "@ID@": "id", QUEUE_MARK: "queue", TAG_MARK: "tag"}


def _tables() -> str:
    moves = ", ".join(
        f"{before} = {{{', '.join(f'{after} = true' for after in sorted(afters))}}}" for before, afters in MOVES.items()
    )
    final = ", ".join(f"{state} = true" for state in sorted(FINAL))
    return f"local MOVES = {{{moves}}}\nlocal FINAL = {{{final}}}\n"


def _plain_hint() -> str:
    """Return a Lua function that makes the hint of a run without a canvas, and of a dispatch."""
    text = envelope("@TASK@", "@ID@", shown="@SHOWN@", limit_s=OUTER_BELT_S)
    pieces = re.split("(" + "|".join(map(re.escape, _MARKS)) + ")", text)
    joined = " .. ".join(_MARKS.get(piece) or f"[==[{piece}]==]" for piece in pieces if piece)
    return (
        f"local RUN, DISPATCH, SETTLE_QUEUE = '{RUN_TASK}', '{DISPATCH_TASK}', '{GUARDIAN}'\n"
        "local function plain_hint(task, id, shown, queue, tag)\n"
        "  if task == DISPATCH then id = 'dispatch:' .. id end\n"
        f"  return {joined}\nend\n"
    )


@cache
def source(name: str) -> str:
    """Return the whole text of a script: tables, the plain hint, what all share, and the script itself."""
    return _tables() + _plain_hint() + "".join(_LUA[part] for part in (*SHARED, name))


@cache
def digest(text: str) -> str:
    """Return the name Redis gives a script."""
    return sha1(text.encode(), usedforsecurity=False).hexdigest()


class Scripts:
    """The scripts on one connection pool. Safe to share between threads."""

    def __init__(self, client: Redis, prefix: str = PREFIX, source: Callable[[str], str] = source) -> None:
        self.client = client
        self.prefix = prefix
        self._source = source

    def call(self, name: str, *, patience_s: float = PATIENCE_S, **args: Any) -> Any:
        """Run a script and return its decoded answer.

        Raises FleetUnreachable when Redis did not answer for `patience_s` seconds; whether the change was made is then
        unknown, and asking again with the same arguments is safe.
        """
        text = _as_json({key: value for key, value in args.items() if value is not None})
        return json.loads(self.persistently(lambda: self._run(self._source(name), text), patience_s))

    def call_many(self, name: str, calls: Sequence[dict[str, Any]], *, patience_s: float = PATIENCE_S) -> list[str]:
        """Run a script for each of many arguments in one round trip; return the answers as Redis gave them.

        Raises as `call` does; some of the changes may have been made then, and asking again with the same is safe.
        """
        script = self._source(name)
        texts = [_as_json({key: value for key, value in args.items() if value is not None}) for args in calls]

        def ask() -> list[str]:
            with self.client.pipeline(transaction=False) as pipe:
                pipe.script_load(script)
                for text in texts:
                    pipe.evalsha(digest(script), 1, self.prefix, text)
                return list(pipe.execute()[1:])

        return list(self.persistently(ask, patience_s)) if texts else []

    def call_with(self, name: str, command: Sequence[str], **args: Any) -> tuple[Any, Any]:
        """Run a script and right behind it a command of Redis, with nobody in between; return both answers.

        That of the command may be a ResponseError. Raises as `call` does.
        """
        script = self._source(name)
        text = _as_json({key: value for key, value in args.items() if value is not None})

        def ask() -> list[Any]:
            with self.client.pipeline(transaction=False) as pipe:
                pipe.script_load(script)
                pipe.evalsha(digest(script), 1, self.prefix, text)
                pipe.execute_command(*command)  # type: ignore[no-untyped-call]
                said = list(pipe.execute(raise_on_error=False))[1:]
            if isinstance(said[0], Exception):
                raise said[0]
            return said

        said, answered = self.persistently(ask)
        return json.loads(said), answered

    def _run(self, script: str, text: str | bytes) -> Any:
        try:
            return self.client.evalsha(digest(script), 1, self.prefix, text)
        except NoScriptError:
            return self.client.eval(script, 1, self.prefix, text)

    def persistently(self, ask: Callable[[], Any], patience_s: float = PATIENCE_S) -> Any:
        """Ask Redis until it answers or the patience is over. Only for questions that may be repeated.

        Raises FleetUnreachable; InfraError when Redis refuses for a reason that does not pass.
        """
        deadline, pause_s = time.monotonic() + patience_s, FIRST_PAUSE_S
        while True:
            try:
                return ask()
            except (*LOST_ANSWER, ResponseError) as error:
                if not _passes(error):
                    raise _translated(error) from error
                if time.monotonic() >= deadline:
                    raise FleetUnreachable(
                        f"Redis does not answer: {error}. Is the fleet up? See `infra status`."
                    ) from error
            time.sleep(pause_s * random.uniform(0.5, 1.0))  # noqa: S311  no secret
            pause_s = min(pause_s * 1.5, LONGEST_PAUSE_S)

    def key(self, *parts: object) -> str:
        """Return the name of a key of the ledger."""
        return self.prefix + ":".join(map(str, parts))


def _as_json(args: dict[str, Any]) -> str | bytes:
    """Return what a script takes. Half characters (from undecodable bytes) become '?': Redis' JSON refuses them."""
    text = json.dumps(args)
    return json.dumps(args, ensure_ascii=False).encode("utf-8", "replace") if "\\ud" in text else text


def _passes(error: Exception) -> bool:
    if isinstance(error, AuthenticationError):
        return False
    return isinstance(error, LOST_ANSWER) or str(error).startswith(PASSING)


def _translated(error: Exception) -> InfraError:
    text = str(error)
    if "OOM" in text or "maxmemory" in text:
        return FleetUnreachable(f"Redis has no memory left and takes nothing new: {text}. Nothing accepted is lost.")
    if "MISCONF" in text:
        return FleetUnreachable(f"Redis cannot write to its disk and takes nothing new: {text}")
    if isinstance(error, AuthenticationError) or text.startswith(("NOPERM", "WRONGPASS", "NOAUTH")):
        return FleetUnreachable(f"Redis refuses the login or a command: {text}. See 'broker' in nodes.json.")
    return InfraError(f"Redis refused a call of the ledger: {text}")
