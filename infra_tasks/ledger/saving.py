"""Has Redis write a copy of itself beside its files, while everything goes on (BGSAVE: https://redis.io/commands/bgsave).

The copy is one moment of the ledger. Put in place of an append-only file it is one: a server reads the RDB at the
beginning of such a file (`aof-use-rdb-preamble`), 6.2 and 7 alike; a lone dump.rdb it would pass over, and start empty.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from redis.exceptions import ResponseError

from infra_tasks.errors import BackupFailed

if TYPE_CHECKING:
    from collections.abc import Mapping

    from infra_tasks.ledger.scripts import Scripts

COPY = "dump.rdb"
# Redis saves one thing at a time: another copy, or a rewrite of its file, is waited for.
_AT_IT = ("rdb_bgsave_in_progress", "aof_rewrite_in_progress", "aof_rewrite_scheduled")
# What BGSAVE then answers, 6.2 and 7 alike; every other refusal (no memory to fork, no permission) stays one.
_BUSY = ("in progress", "child process is active")


@dataclass(frozen=True)
class Begun:
    """What stood in the ledger when its copy was begun. `at`: Redis' wall seconds."""

    at: float
    server: str
    safe: bool
    counts: Mapping[str, int]
    submitted: int
    redis_version: str


class Saving:
    """The ledger's Redis, saving."""

    def __init__(self, scripts: Scripts) -> None:
        self._scripts = scripts
        self._redis: Any = scripts.client

    def is_busy(self) -> bool:
        """Say whether Redis is saving something. Raises FleetUnreachable."""
        return any(int(self._info().get(name) or 0) for name in _AT_IT)

    def needs_bytes(self) -> int:
        """Return what a copy takes on the disk at most: as much as the data in memory. Raises FleetUnreachable."""
        return int(self._scripts.persistently(lambda: self._redis.info("memory"))["used_memory"])

    def begin(self, node: str, actor: str, nonce: str) -> Begun | None:
        """Begin a copy; None when Redis is just saving something else. Raises BackupFailed, FleetUnreachable.

        Mark and copy are sent together, and nobody comes in between: the counts are those of the copy.
        """
        said, begun = self._scripts.call_with("backup", ("BGSAVE",), node=node, actor=actor, nonce=nonce)
        if isinstance(begun, ResponseError):
            if any(words in str(begun) for words in _BUSY) or self.is_busy():
                return None
            raise BackupFailed(
                f"Redis does not begin a copy ({begun or 'no memory to fork?'}): its log says why. Nothing changed"
            )
        version = str(self._scripts.persistently(lambda: self._redis.info("server"))["redis_version"])
        counts = {state: int(count) for state, count in dict(said["counts"]).items() if int(count)}
        return Begun(said["at"], said["server"], bool(said["safe"]), counts, int(said["submitted"]), version)

    def is_done(self) -> bool:
        """Say whether the copy is on the disk. Raises BackupFailed when Redis could not write it; FleetUnreachable."""
        said = self._info()
        if int(said.get("rdb_bgsave_in_progress") or 0):
            return False
        if said.get("rdb_last_bgsave_status") != "ok":
            raise BackupFailed(
                "Redis could not write its copy (a full disk? no memory to fork?): its log says why. Nothing changed"
            )
        return True

    def _info(self) -> dict[str, Any]:
        return dict(self._scripts.persistently(lambda: self._redis.info("persistence")))
