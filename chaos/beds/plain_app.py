"""A Celery application as an experienced user writes one who must not lose tasks: what plain Celery can do.

Every setting is one that Celery's own documentation recommends for tasks that must be done; each with its reason.
"""

from __future__ import annotations

import os
import subprocess
import uuid
from typing import TYPE_CHECKING, Any

from celery import Celery

if TYPE_CHECKING:
    from collections.abc import Sequence

REDIS = "CHAOS_PLAIN_REDIS"
"""The variable that says where Redis is."""
NODE = "n1"
ANY_QUEUE, NODE_QUEUE = "celery", f"node.{NODE}"
VISIBILITY_S = 60
"""Longer than the longest run (4 s) by far; 3600 by default, and then a storm would never see what comes back."""
LOOK_FOR_LOST_S = 10
LIMIT_S = 120
RETRY_AFTER_S = 0.2

SOCKETS = {
    "socket_timeout": 10,  # a half-open connection ends
    "socket_connect_timeout": 5,
    "socket_keepalive": True,
    "health_check_interval": 10,
}

app = Celery("plain", broker=os.environ.get(REDIS), backend=os.environ.get(REDIS))
app.conf.update(
    # a task is acknowledged when it is done, and goes back when its process dies
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    worker_prefetch_multiplier=1,
    # a task that comes back though it has succeeded is not done again
    worker_deduplicate_successful_tasks=True,
    # what cannot be acknowledged any more is stopped, not left to run beside its second delivery (default in Celery 6)
    worker_cancel_long_running_tasks_on_connection_loss=True,
    # the same in all three places, as the documentation asks for canvas
    visibility_timeout=VISIBILITY_S,
    broker_transport_options={
        "visibility_timeout": VISIBILITY_S,
        # 10 x 10 s by default: with a short visibility timeout this is what redelivery would wait for
        "unacked_restore_interval": LOOK_FOR_LOST_S,
        "unacked_restore_throttle": 1,
        **SOCKETS,
    },
    result_backend_transport_options={"visibility_timeout": VISIBILITY_S, "retry_policy": {"timeout": 5.0}},
    # Redis may be away for a while: everybody tries again
    broker_connection_retry=True,
    broker_connection_retry_on_startup=True,
    broker_connection_max_retries=None,
    task_publish_retry=True,
    task_publish_retry_policy={"max_retries": 10, "interval_start": 0, "interval_step": 0.2, "interval_max": 1},
    result_backend_always_retry=True,
    redis_socket_timeout=10,
    redis_socket_connect_timeout=5,
    redis_socket_keepalive=True,
    redis_backend_health_check_interval=10,
    # what a user wants to know of a task
    result_extended=True,
    task_track_started=True,
    # a limit beyond that of the command
    task_soft_time_limit=LIMIT_S + 10,
    task_time_limit=LIMIT_S + 30,
    # a busy machine starts processes slowly
    worker_proc_alive_timeout=30,
    task_serializer="json",
    accept_content=["json"],
)


class CommandFailed(Exception):
    """The command ended with another exit code than 0."""


@app.task(bind=True, name="plain.run")  # type: ignore[untyped-decorator]
def run(self: Any, command: Sequence[str], retries: int = 0) -> int:
    """Run a command; return its exit code 0, or raise CommandFailed after so many retries."""
    who = {
        "INFRA_RUN": self.request.id,
        "INFRA_ATTEMPT": str(self.request.retries + 1),
        "INFRA_TOKEN": uuid.uuid4().hex,
        "INFRA_NODE": NODE,
    }
    code = subprocess.run(
        list(command), env={**os.environ, **who}, stdout=subprocess.DEVNULL, timeout=LIMIT_S, check=False
    ).returncode
    if code == 0:
        return 0
    failed = CommandFailed(f"exit code {code}")
    if self.request.retries < retries:
        raise self.retry(exc=failed, countdown=RETRY_AFTER_S, max_retries=retries)
    raise failed
