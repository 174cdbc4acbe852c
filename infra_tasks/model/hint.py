"""The hint: the Celery message that says "there is a run to look at", as kombu's Redis transport puts it into a list.

It is made here, from nothing but values, so that one Lua script can change a run and push its hint, and so that the
sweep needs no Celery. `@QUEUE@` and `@TAG@` are filled in by the script that pushes (the queue may be known late, the
tag must be new each time). A test holds this text against what Celery's own producer sends.
Source of the layout: Celery's message protocol 2, kombu's virtual transports.
"""

from __future__ import annotations

import base64
import json
from typing import Any

RUN_TASK = "infra_tasks.run_spec"
DISPATCH_TASK = "infra_tasks.dispatch"
FETCH_TASK = "infra_tasks.fetch_outputs"
QUEUE_MARK = "@QUEUE@"
TAG_MARK = "@TAG@"
# The outer belt: Celery's own limit for the child that waits, behind the longest run, its grace and half an hour.
OUTER_BELT_S = 7200 + 600 + 1800

_FETCH = "fetch"

_EMBED: dict[str, Any] = {"callbacks": None, "errbacks": None, "chain": None, "chord": None}


def envelope(
    task: str,
    task_id: str,
    *,
    shown: str = "",
    limit_s: float | None = None,
    embed: dict[str, Any] | None = None,
    headers: dict[str, Any] | None = None,
    reply_to: str = "",
) -> str:
    """Return the text for the broker's list.

    `shown` is what Flower prints as arguments; `embed` and `headers` carry the canvas (chain, chord, group, callbacks).
    """
    body = json.dumps([[], {}, {**_EMBED, **(embed or {})}])
    head = {
        "lang": "py",
        "task": task,
        "id": task_id,
        "shadow": None,
        "eta": None,
        "expires": None,
        "group": None,
        "group_index": None,
        "retries": 0,
        "timelimit": [limit_s, None],
        "root_id": task_id,
        "parent_id": None,
        "argsrepr": shown,
        "kwargsrepr": "{}",
        "origin": "infra_tasks",
        "ignore_result": False,
        "replaced_task_nesting": 0,
        "stamped_headers": None,
        "stamps": {},
        **(headers or {}),
    }
    return json.dumps(
        {
            "body": base64.b64encode(body.encode()).decode(),
            "content-encoding": "utf-8",
            "content-type": "application/json",
            "headers": head,
            "properties": {
                "correlation_id": task_id,
                "reply_to": reply_to,
                "delivery_mode": 2,
                "delivery_info": {"exchange": "", "routing_key": QUEUE_MARK},
                "priority": 0,
                "body_encoding": "base64",
                "delivery_tag": TAG_MARK,
            },
        }
    )


def arguments_shown(name: str | None, project: str | None, node: str | None) -> str:
    """Return what Celery's tools print as the arguments of a run: who it is and where it goes, never its command."""
    parts = [name, project and f"project={project}", node and f"node={node}"]
    return " ".join(part for part in parts if part) or "-"


def fetch_id(node: str, attempt: int, run_id: str) -> str:
    """Return the id of the message that asks for the outputs a node has: like a hint, it holds nothing but its id."""
    return f"{_FETCH}:{node}:{attempt}:{run_id}"


def fetch_asked(task_id: str) -> tuple[str, int, str]:
    """Return node, attempt and run of such an id; ValueError for anything else."""
    what, node, attempt, run_id = task_id.split(":", 3)
    if what != _FETCH:
        raise ValueError(f"{task_id!r} asks for no outputs")
    return node, int(attempt), run_id
