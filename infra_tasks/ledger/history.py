"""What leaves the history: found by the one node that exports it, read whole, and forgotten once it is exported."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from infra_tasks.ledger.records import Event, Run
from infra_tasks.model.outcome import META_PREFIX

if TYPE_CHECKING:
    from collections.abc import Sequence

    from infra_tasks.ledger.scripts import Scripts

# Few enough for a script that takes a few milliseconds, and for the memory of whoever reads them.
MOST = 200
# The longest a batch may take until somebody else may export, too; doubles do no harm.
LEASE_S = 60.0


@dataclass(frozen=True)
class Past:
    """A final run, whole: its record and its story."""

    run: Run
    events: Sequence[Event]


@dataclass(frozen=True)
class Leaving:
    """Runs older than the history. `said`: ok, other (`who` exports) or safe (not now). `skip`: for the next look."""

    said: str
    ids: Sequence[str] = ()
    skip: int = 0
    who: str = ""


class History:
    """The old end of the ledger."""

    def __init__(self, scripts: Scripts) -> None:
        self._scripts = scripts
        self._redis = scripts.client
        self._key = scripts.key

    def leaving(self, node: str, history_s: float, *, skip: int = 0, most: int = MOST) -> Leaving:
        """Return the oldest runs that ended `history_s` ago and are settled, if no other node exports them now."""
        answer = self._scripts.call("leaving", node=node, lease_s=LEASE_S, history_s=history_s, most=most, skip=skip)
        return Leaving(answer["said"], list(answer.get("ids") or ()), int(answer.get("skip", 0)), answer.get("who", ""))

    def read(self, ids: Sequence[str]) -> list[Past]:
        """Return those of the runs that exist, whole."""

        def ask() -> list[list[object]]:
            with self._redis.pipeline(transaction=False) as pipe:
                for run_id in ids:
                    pipe.hgetall(self._key("run", run_id))
                    pipe.lrange(self._key("story", run_id), 0, -1)
                return list(pipe.execute())

        said = self._scripts.persistently(ask)
        return [
            Past(Run(run_id, fields), [Event.of(text) for text in story])
            for run_id, fields, story in zip(ids, said[::2], said[1::2], strict=True)
            if fields
        ]

    def forget(self, ids: Sequence[str], history_s: float, *, exported: bool) -> int:
        """Forget runs that are older than the history; return how many went. Safe to repeat."""
        total = "archived" if exported else "forgotten"
        answer = self._scripts.call("forget", runs=list(ids), history_s=history_s, total=total, meta_prefix=META_PREFIX)
        return int(answer.get("gone", 0))
