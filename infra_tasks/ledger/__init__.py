"""Our records in Redis: runs, claims, nodes. The truth. Nobody else speaks Redis (but Celery itself).

Loaded when it is first used: a look at nodes.json (`glance`) needs no Redis.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from infra_tasks.ledger.book import Ledger as Ledger
    from infra_tasks.ledger.book import open_ledger as open_ledger

__all__ = ["Ledger", "open_ledger"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'infra_tasks.ledger' has no attribute {name!r}")
    from infra_tasks.ledger import book  # noqa: PLC0415  the whole point is to import late

    return getattr(book, name)
