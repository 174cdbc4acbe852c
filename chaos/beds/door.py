"""Hands an item in to infra_tasks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from celery import chain, chord

from infra_tasks import run_spec

if TYPE_CHECKING:
    from collections.abc import Sequence

    from chaos.plan import Item, Part

LEASE = {"grace_s": 1.0, "stop_after_s": 10.0, "lost_after_s": 26.0}
"""As short as the rules and a busy machine allow: a storm has not all day, and an agent that has hardly any processor
still renews in time."""


def hand_in(item: Item, ids: Sequence[str], commands: Sequence[list[str]]) -> None:
    """Hand it in; returns when it was accepted, raises when it was not or nobody knows."""
    specs = [_spec(part, command) for part, command in zip(item.parts, commands, strict=True)]
    if item.shape == "single":
        run_spec.apply_async((specs[0],), task_id=ids[0])
        return
    steps = [run_spec.si(spec).set(task_id=one) for spec, one in zip(specs, ids, strict=True)]
    if item.shape == "chain":
        chain(*steps).apply_async()
    else:
        chord(steps[:-1])(steps[-1])


def _spec(part: Part, command: list[str]) -> dict[str, Any]:
    where = {name: value for name, value in (("node", part.node), ("project", part.project)) if value}
    more = {"retries": part.retries, "retry_backoff_s": 0.2} if part.retries else {}
    return {"command": command, "timeout_s": 120, **LEASE, **where, **more}
