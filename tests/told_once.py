"""Whether what is behind a run was done once: a plain Celery task there happens at least once (docs/promises.md)."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from infra_tasks.ledger import Ledger


def was_carried_on_once(book: Ledger, *runs: str) -> bool:
    """Say whether the child that waited for each of these runs told its end, and did in time what follows it.

    Where it was late (the machine stood still for a second or more) the agent told the end, or the sweep looked again:
    then somebody else did what follows as well, and a plain task has happened twice.
    """
    return all(_by_its_child(book, run_id) for run_id in runs)


def _by_its_child(book: Ledger, run_id: str) -> bool:
    run = book.runs.get(run_id)
    assert run is not None, run_id
    return book.runs.events(run_id)[-1].actor.startswith("worker ") and not run.fields.get("settling")
