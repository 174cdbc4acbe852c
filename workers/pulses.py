"""How the watcher hears that a role does its work: a file that is touched, or a Redis that answers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from workers.redis_probe import RedisProbe

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


class Pulses(Protocol):
    """A source of heartbeats."""

    def beaten(self, now: float) -> bool:
        """Whether there was a heartbeat since the last look."""

    def reset(self, now: float) -> None:
        """Forget what was heard: a new process begins."""

    @property
    def serves(self) -> bool:
        """Whether the last heartbeat also said that the role is ready."""


class FilePulses:
    """The role touches its beat file. Only that it changed counts, so no clock can lie."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen = self._mark()
        self.serves = True

    def beaten(self, now: float) -> bool:
        """Whether the file was touched since the last look."""
        del now
        mark = self._mark()
        changed, self._seen = mark != self._seen, mark
        return changed and mark is not None

    def reset(self, now: float) -> None:
        """Begin with the file as it is."""
        del now
        self._seen = self._mark()

    def _mark(self) -> int | None:
        try:
            return self._path.stat().st_mtime_ns
        except OSError:
            return None


class RedisPulses:
    """The Redis answers PING; while it loads its data it lives but does not serve yet."""

    def __init__(self, where: Callable[[], tuple[int, str]]) -> None:
        self._probe = RedisProbe(where)
        self._seen = 0

    @property
    def serves(self) -> bool:
        """Whether the last answer was PONG."""
        return self._probe.serves

    def beaten(self, now: float) -> bool:
        """Whether an answer came since the last look."""
        self._probe.look(now)
        more, self._seen = self._probe.answers > self._seen, self._probe.answers
        return more

    def reset(self, now: float) -> None:
        """Talk to the new process, not to what is left of the old one."""
        self._probe.forget(now)
