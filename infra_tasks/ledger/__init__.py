"""Our records in Redis: runs, claims, nodes. The truth. Nobody else speaks Redis (but Celery itself)."""

from __future__ import annotations

from infra_tasks.ledger.book import Ledger, open_ledger

__all__ = ["Ledger", "open_ledger"]
