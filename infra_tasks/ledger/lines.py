"""What a waiting run stands in line for: a place among those of its project or name, or its project's turn."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from infra_tasks.ledger.records import Run
    from infra_tasks.ledger.scripts import Scripts


@dataclass(frozen=True)
class Line:
    """`kind`: project, name (so many of it may run) or lane (its project's turn). `before`: how many stand before it.

    `running`: who has the places, by run id; `most`: how many there are, None for a lane, and for a
    run without a limit that stands behind those of its name that have one.
    """

    kind: str
    of: str
    before: int
    running: tuple[str, ...] = ()
    most: int | None = None


def line_of(scripts: Scripts, run: Run) -> Line | None:
    """Return the line a run stands in, None when it waits for nothing but a slot."""
    line = run.fields.get("in_line")
    if not line:
        return None
    gate = line.rpartition("@")[0]
    kind, _, of = gate.partition(":")
    redis, key = scripts.client, scripts.key

    def ask() -> tuple[int | None, set[str], str | None]:
        with redis.pipeline(transaction=False) as pipe:
            pipe.zrank(key("line", line), run.id)
            pipe.smembers(key("running", gate))
            pipe.hget(key("most_running"), of)
            before, running, most = pipe.execute()
            return before, running, most

    before, running, most = scripts.persistently(ask)
    if kind == "lane":
        return Line(kind, of, before or 0)
    most = run.spec.max_running if kind == "name" else most
    return Line(kind, of, before or 0, tuple(sorted(running)), None if most is None else int(most))
