"""What nodes tell each other of outputs on their way home: please fetch them; how far that is; they are there.

brought:<run>:<attempt>   string   what the home said last, JSON {said, ...}; goes after a day
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from infra_tasks.model.hint import FETCH_TASK, QUEUE_MARK, TAG_MARK, envelope, fetch_id
from infra_tasks.routing import dispatch_queue

if TYPE_CHECKING:
    from infra_tasks.ledger.scripts import Scripts

KEPT_S = 24 * 3600
# What a home says: it is at it; they are there; it could not, and tries again later.
COMING, HERE, FAILED = "coming", "here", "failed"


class Bringing:
    """The words between the node that ran and the run's home."""

    def __init__(self, scripts: Scripts) -> None:
        self._scripts = scripts
        self._redis = scripts.client
        self._key = scripts.key

    def ask(self, home: str, run_id: str, attempt: int, node: str) -> None:
        """Ask a node's control role to fetch the outputs `node` has. Asked twice is asked once."""
        queue = dispatch_queue(home)
        text = envelope(FETCH_TASK, fetch_id(node, attempt, run_id))
        text = text.replace(QUEUE_MARK, queue).replace(TAG_MARK, uuid4().hex)
        self._scripts.persistently(lambda: self._redis.lpush(queue, text))

    def note(self, run_id: str, attempt: int, said: str, **more: Any) -> None:
        """Say how far it is."""
        text = json.dumps({"said": said, **more})
        key = self._key("brought", run_id, attempt)
        self._scripts.persistently(lambda: self._redis.set(key, text, ex=KEPT_S))

    def said(self, run_id: str, attempt: int) -> dict[str, Any]:
        """Return what the home said last; empty when it has not said anything."""
        text = self._scripts.persistently(lambda: self._redis.get(self._key("brought", run_id, attempt)))
        return dict(json.loads(text)) if text else {}
