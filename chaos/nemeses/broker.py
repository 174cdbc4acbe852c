"""Nemesis 4: the broker loses what it holds, while the ledger stays."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chaos.nemeses.kind import Kind, Missed

if TYPE_CHECKING:
    from chaos.nemeses.kind import Scene
    from chaos.strikes import Strike

QUEUES = ("node.*", "pool.*", "dispatch.*", "guardian", "celery")
BOOKS = ("unacked*", "_kombu.*")


def _delete(scene: Scene, patterns: tuple[str, ...]) -> None:
    client = scene.bed.redis()
    names = [name for pattern in patterns for name in client.scan_iter(pattern, count=1000)]
    if not names or not client.delete(*names):
        raise Missed("the broker holds nothing")


def delete_lists(scene: Scene, strike: Strike) -> None:
    """Every queue is gone."""
    _delete(scene, QUEUES)


def wipe(scene: Scene, strike: Strike) -> None:
    """Everything Celery keeps about messages is gone: queues, bindings, what was taken and not acknowledged."""
    _delete(scene, (*QUEUES, *BOOKS))


ALL = (Kind("lists-deleted", 4, delete_lists), Kind("broker-wiped", 4, wipe))
