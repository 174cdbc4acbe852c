"""What a node and a porter say to each other: one JSON object a line.

    near to far   {"do": NAME, ...}                 a request
                  {"brought": true}                 what was asked for has been brought
                  {"brought": true, "content"}      ... and is here: what the files hold, in their order (base64)
                  {"failed": {"kind", "said"}}      ... or could not be
    far to near   {"bring": {"tree", "paths", ...}} files that are missing here, and where packs of small ones go;
                                                    "inline": they are few, the answer may hold them
                  {"done": {...}}                   the answer
                  {"error": {"kind", "said"}}       ... or why there is none
    both          {"alive": true}                   still at it: silence means that the other one is gone
    far to near   {"alive": true, "half", "of"}     ... and so many bytes of this file are there

Names that are no UTF-8 are carried as Python carries them; JSON's escapes keep them.
"""

from __future__ import annotations

import json
from threading import Event, Lock, Thread
from typing import TYPE_CHECKING, Any, Self

from infra_tasks import errors
from infra_tasks.errors import ReleaseError

if TYPE_CHECKING:
    from collections.abc import Callable

# A new number when what is said changes: who does not speak it says so instead of guessing.
PROTOCOL = 3
ALIVE_EVERY_S = 5.0
# Who says nothing for so long is gone.
SILENCE_S = 30.0

Message = dict[str, Any]
ALIVE: Message = {"alive": True}


def encode(message: Message) -> bytes:
    """Return the line of a message."""
    return json.dumps(message, separators=(",", ":")).encode() + b"\n"


def decode(line: bytes) -> Message:
    """Return the message of a line; ValueError for anything else."""
    message = json.loads(line)
    if not isinstance(message, dict):
        raise ValueError(f"no message: {line[:80]!r}")  # noqa: TRY004  what came is wrong, not what we were called with
    return message


def error_message(error: BaseException) -> Message:
    """Return an error as it is told."""
    return {"kind": type(error).__name__, "said": str(error)}


def error_of(told: Message) -> ReleaseError:
    """Return the error somebody told of; kinds that are not known here are ReleaseErrors."""
    kind = getattr(errors, str(told.get("kind")), None)
    if not (isinstance(kind, type) and issubclass(kind, ReleaseError)):
        kind = ReleaseError
    return kind(str(told.get("said")))


class Breath:
    """Says "alive" now and then while something takes long; `says` has more to say."""

    def __init__(
        self, send: Callable[[Message], None], says: Callable[[], Message] | None = None, every_s: float = ALIVE_EVERY_S
    ) -> None:
        self._send = send
        self._says = says or (lambda: ALIVE)
        self._every_s = every_s
        self._over = Event()
        self._thread = Thread(target=self._run, name="breath", daemon=True)

    def _run(self) -> None:
        while not self._over.wait(self._every_s):
            try:
                self._send(self._says())
            except Exception:  # noqa: BLE001  who reads notices
                return

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()


class Sender:
    """Writes whole messages, whichever thread they come from."""

    def __init__(self, write: Callable[[bytes], object]) -> None:
        self._write = write
        self._lock = Lock()

    def __call__(self, message: Message) -> None:
        """Send one message."""
        line = encode(message)
        with self._lock:
            self._write(line)
