"""What a shell offers to complete a name with: what nodes.json knows, and the newest runs."""

from __future__ import annotations

from collections import Counter
from contextlib import closing
from typing import TYPE_CHECKING

from click.shell_completion import CompletionItem

from infra_tasks.cli.door import open_home
from infra_tasks.cli.path_text import path_text
from infra_tasks.ledger.glance import glance

if TYPE_CHECKING:
    from collections.abc import Iterator

    from infra_tasks.ledger.records import Run

MOST_RUNS = 50
# Commands that only make sense for runs that have not ended.
FOR_LIVE_RUNS = ("cancel", "extend", "wait", "watch-run")


def suggestions(kind: str, command: str, incomplete: str) -> list[CompletionItem]:
    """Return what a name may be completed to; `command` is the one it is for. Raises InfraError."""
    if kind == "file":
        return [CompletionItem(incomplete, type="file")]
    if kind == "run":
        return list(_runs(incomplete, live_only=command in FOR_LIVE_RUNS))
    if kind == "schedule":
        return list(_schedules(incomplete))
    fleet = glance(open_home())
    names = {"node": tuple(fleet.nodes), "project": fleet.projects, "label": fleet.labels}[kind]
    return [CompletionItem(name) for name in names if name.startswith(incomplete)]


def _runs(incomplete: str, *, live_only: bool) -> Iterator[CompletionItem]:
    from infra_tasks.cli.run_view import SHORT_CHARACTERS, short  # noqa: PLC0415
    from infra_tasks.ledger import open_ledger  # noqa: PLC0415  redis

    with closing(open_ledger(open_home())) as ledger:
        found = ledger.runs.recent(MOST_RUNS, live_only=live_only)
    of_short = Counter(short(run.id) for run in found)
    for run in found:
        shortened = short(run.id) if len(incomplete) <= SHORT_CHARACTERS else run.id
        name = shortened if of_short[short(run.id)] == 1 else run.id
        if name.startswith(incomplete):
            yield CompletionItem(name, help=_words(run))


def _schedules(incomplete: str) -> Iterator[CompletionItem]:
    from infra_tasks.ledger import open_ledger  # noqa: PLC0415  redis

    with closing(open_ledger(open_home())) as ledger:
        seen = ledger.schedules.read(patience_s=0)
    for name in sorted({*seen.added, *seen.progress}):
        if name.startswith(incomplete):
            yield CompletionItem(name)


def _words(run: Run) -> str:
    return " ".join(path_text(text) for text in (run.state, run.name, run.project) if text)
