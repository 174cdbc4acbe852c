"""Celery's pool of threads, with one difference: a slot comes back however its task ended.

Celery's own forgets a task whose carrying out broke outside the task itself - its backend could not be made, say, for
want of a file descriptor - and then counts its slot as taken for ever: after as many as there are slots nothing is
taken any more, and the loop turns on as if all were well.
"""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING, Any

from billiard.einfo import ExceptionInfo
from celery.concurrency.thread import TaskPool

if TYPE_CHECKING:
    from collections.abc import Callable

log = logging.getLogger("infra_tasks")


class Threads(TaskPool):  # type: ignore[misc]
    """A pool (see `celery.concurrency.base.BasePool`)."""

    def on_apply(
        self,
        target: Callable[..., Any],
        args: tuple[Any, ...] | None = None,
        kwargs: dict[str, Any] | None = None,
        callback: Callable[..., Any] | None = None,
        accept_callback: Callable[..., Any] | None = None,
        **more: Any,
    ) -> Any:
        """Carry a task out in a thread."""
        accept = partial(_accept, accept_callback) if accept_callback else None
        return super().on_apply(partial(_carried_out, target), args, kwargs, callback, accept, **more)


def _accept(told: Callable[..., Any], *what: Any) -> None:
    """Say that a task begins; it is done also when that cannot be said."""
    try:
        told(*what)
    except Exception:
        log.exception("that a task begins could not be told")


def _carried_out(target: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Return what Celery's tracer returns; when that itself broke, that the task failed (`Request.on_success`)."""
    try:
        return target(*args, **kwargs)
    except Exception:
        log.exception("a task could not be carried out")
        return 1, ExceptionInfo(), 0.0
