"""Hands an item in to plain Celery."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from celery import chain, chord

from chaos.beds.plain_app import ANY_QUEUE, NODE_QUEUE, run

if TYPE_CHECKING:
    from collections.abc import Sequence

    from chaos.plan import Item, Part


def hand_in(item: Item, ids: Sequence[str], commands: Sequence[list[str]]) -> None:
    """Hand it in; returns when Redis has it, raises when it was not taken or nobody knows."""
    steps = [_step(part, command, one) for part, command, one in zip(item.parts, commands, ids, strict=True)]
    if item.shape == "single":
        steps[0].apply_async()
    elif item.shape == "chain":
        chain(*steps).apply_async()
    else:
        chord(steps[:-1])(steps[-1])


def _step(part: Part, command: list[str], run_id: str) -> Any:
    queue = NODE_QUEUE if part.node else ANY_QUEUE
    return run.si(command, part.retries).set(task_id=run_id, queue=queue)
