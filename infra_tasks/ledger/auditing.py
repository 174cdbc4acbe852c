"""What an audit reads of the ledger and the broker - in pieces, each at one moment - and the little it may mend."""

from __future__ import annotations

import base64
import binascii
import json
import re
import time
from functools import partial
from typing import TYPE_CHECKING, Any

from infra_tasks.model import outcome
from infra_tasks.model.audit import Row, Sums
from infra_tasks.model.hint import DISPATCH_TASK, RUN_TASK

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from infra_tasks.ledger.runs import Runs
    from infra_tasks.ledger.scripts import Scripts

# Runs a script looks at: a millisecond or two.
PIECE = 100
KEYS_A_LOOK = 1000
_WHOSE = re.compile(r'"task": "([^"]+)", "id": "([^"]+)"')
_DISPATCH = "dispatch:"


class Auditing:
    """The ledger under audit."""

    def __init__(self, scripts: Scripts, runs: Runs) -> None:
        self._scripts = scripts
        self._redis = scripts.client
        self._runs = runs
        self._key = scripts.key

    def sums(self) -> Sums:
        """Return all counts, read at one moment."""
        said = self._scripts.call("audit")
        return Sums(*({name: int(n) for name, n in dict(said[part]).items()} for part in ("counts", "totals", "cards")))

    def all(self) -> Iterator[list[Row]]:
        """Give every run that is listed from the beginning to the end of this look, once; in pieces."""
        after = None
        while rows := self._rows(after=after, most=PIECE):
            yield rows
            after = rows[-1].id

    def rows(self, ids: Sequence[str]) -> list[Row]:
        """Return these runs in order; one that is unknown has no state."""
        pieces = [ids[at : at + PIECE] for at in range(0, len(ids), PIECE)]
        return [row for piece in pieces for row in self._rows(runs=list(piece))]

    def _rows(self, **what: Any) -> list[Row]:
        said = self._scripts.call("audit", meta_prefix=outcome.META_PREFIX, **what)
        return [Row(**row, at=float(said["at"])) for row in said["rows"] or ()]

    def strays(self) -> Iterator[str]:
        """Give the ids that an index knows and the list of all ids does not."""
        for index in ("recent", "live", "ended"):
            yield from self._unlisted(self._members(index))

    def unlisted(self) -> Iterator[str]:
        """Give the ids of records that the list of all ids does not know."""
        beginning = self._key("run", "")
        keys = self._scan(lambda cursor: self._redis.scan(cursor, match=f"{beginning}*", count=KEYS_A_LOOK))
        yield from self._unlisted([key.removeprefix(beginning) for key in piece] for piece in keys)

    def _members(self, index: str) -> Iterator[list[str]]:
        found = self._scan(lambda cursor: self._redis.zscan(self._key(index), cursor, count=KEYS_A_LOOK))
        return ([member for member, _ in piece] for piece in found)

    def _scan(self, ask: Any) -> Iterator[list[Any]]:
        cursor = 0
        while True:
            cursor, piece = self._scripts.persistently(partial(ask, cursor))
            yield list(piece)
            if not cursor:
                return

    def _unlisted(self, pieces: Any) -> Iterator[str]:
        for piece in pieces:
            listed = self._piped("zscore", [(self._key("ids"), run_id) for run_id in piece])
            yield from (run_id for run_id, score in zip(piece, listed, strict=True) if score is None)

    def _piped(self, command: str, calls: Sequence[tuple[str, ...]]) -> list[Any]:
        def ask() -> list[Any]:
            with self._redis.pipeline(transaction=False) as pipe:
                for call in calls:
                    getattr(pipe, command)(*call)
                return list(pipe.execute())

        return list(self._scripts.persistently(ask)) if calls else []

    def hints(self, queue: str) -> Iterator[list[tuple[str, bool]]]:
        """Give in pieces whose hints the messages of a queue are, and whether they hold nothing but the id."""
        first = 0
        while texts := self._scripts.persistently(partial(self._redis.lrange, queue, first, first + KEYS_A_LOOK - 1)):
            yield [hint for text in texts if (hint := _hint_of(text))]
            first += KEYS_A_LOOK

    def unknown(self, ids: Sequence[str]) -> list[str]:
        """Return those of the ids that no record has."""
        known = self._piped("exists", [(self._key("run", run_id),) for run_id in ids])
        return [run_id for run_id, there in zip(ids, known, strict=True) if not there]

    def slots(self, node: str) -> list[str]:
        """Return the runs a node counts a slot for."""
        return list(self._scripts.persistently(lambda: sorted(self._redis.smembers(self._key("node", node, "live")))))

    def mend(self, run_id: str, *, holder: str | None = None, hint: bool = False) -> str:
        """Put a run where its state says that it belongs; return what was done, in words."""
        said: Mapping[str, Any] = self._scripts.call("mend", run=run_id, holder=holder, hint="1" if hint else None)
        return ", ".join(said.get("did") or ()) or {"safe": "not in safe mode"}.get(said["said"], "it is right now")

    def write_result(self, run_id: str) -> str:
        """Write Celery's result of a final run from its record, if there is none; return what was done, in words."""
        run = self._runs.get(run_id)
        result = run.result if run and run.final else None
        if run is None or result is None:
            return "its record tells no result"
        told = outcome.told(result, run.fields.get("cause", ""), run.name)
        ended_at = run.at("ended_at") or time.time()
        text = outcome.meta(result, None if run.state == "SUCCESS" else told, ended_at)
        key = outcome.META_PREFIX + run_id
        wrote = self._scripts.persistently(lambda: self._redis.set(key, text, nx=True, ex=outcome.KEEP_S))
        return "result written again" if wrote else "it is right now"


def _hint_of(text: str) -> tuple[str, bool] | None:
    """Return whose hint a message is, and whether it holds nothing but its id; None for other messages."""
    whose = _WHOSE.search(text)
    if whose is None or whose[1] not in {RUN_TASK, DISPATCH_TASK}:
        return None
    try:
        args, kwargs, _ = json.loads(base64.b64decode(json.loads(text)["body"]))
    except (ValueError, KeyError, TypeError, binascii.Error):
        return None
    return whose[2].removeprefix(_DISPATCH), not args and not kwargs
