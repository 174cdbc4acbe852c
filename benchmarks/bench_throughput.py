"""Runs of `true` per second on two slots while 2,000 and 20,000 wait, beside plain Celery tasks that run `true`.

One side consumes at a time: the other one's consumer is cancelled meanwhile, its processes stay. The plain worker has
neither events nor Flower; what it does with both (as a node of ours has them) is told as well.
"""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING
from uuid import uuid4

import redis as redis_client

from benchmarks.bed import NODE, TRUE, PlainCelery, eventually, folder, pause, plain_celery, wait_for_worker, whole_node
from benchmarks.figure import Figure
from benchmarks.rounds import in_turns, median

if TYPE_CHECKING:
    from collections.abc import Callable

    from celery import Celery

    from infra_tasks.ledger import Ledger

FEW, MANY = 2_000, 20_000
AT_LEAST = 0.5
SAME_WITHIN = 0.85
BEGIN_S = 0.5
WINDOW_S = 2.5  # short enough that a fast side does not empty its queue


class Side:
    """One consumer that can be switched on and off, and how much it has done."""

    def __init__(
        self, app: Celery, worker: str, queue: str, done: Callable[[], int], fill: Callable[[int], None]
    ) -> None:
        self._app, self._worker, self._queue, self._done, self._fill = app, worker, queue, done, fill

    def off(self) -> None:
        """Take nothing more; returns when what was taken has ended."""
        self._app.control.cancel_consumer(self._queue, destination=[self._worker], reply=True)
        before = -1
        while (now := self._done()) != before:
            before = now
            pause(0.3)

    def per_s(self, waiting: int) -> float:
        """Consume for a while, `waiting` being there at the beginning; return how many were done per second."""
        self._fill(waiting)
        self._app.control.add_consumer(self._queue, destination=[self._worker], reply=True)
        pause(BEGIN_S)
        begin, before = time.perf_counter(), self._done()
        pause(WINDOW_S)
        rate = (self._done() - before) / (time.perf_counter() - begin)
        self.off()
        return rate


def figures(*, quick: bool) -> list[Figure]:
    """Measure with few and with many waiting."""
    rounds = 3 if quick else 7
    with folder() as home, folder() as other, plain_celery(other) as celery, whole_node(home) as node:
        book = node.ledger()
        ours, floor = _ours(book), _floor(celery)
        seen = {}
        for waiting in (FEW, MANY):
            both = in_turns(rounds, partial(ours.per_s, waiting), partial(floor.per_s, waiting))
            seen[waiting] = [median(values) for values in both]
        watched = _with_events_and_flower(celery, floor, rounds)
        book.close()
    few, many = seen[FEW], seen[MANY]
    same = many[0] >= SAME_WITHIN * few[0]
    return [
        Figure("runs of true /s, 2 slots, 2,000 wait", few[0], "/s", few[1], ">= 0.5x", few[0] >= AT_LEAST * few[1]),
        Figure(
            "runs of true /s, 2 slots, 20,000 wait",
            many[0],
            "/s",
            many[1],
            ">= 0.5x, same",
            same and many[0] >= AT_LEAST * many[1],
        ),
        Figure("  the floor with events and Flower", many[0], "/s", watched),
    ]


def _ours(book: Ledger) -> Side:
    from infra_tasks.app import app  # noqa: PLC0415  INFRA_HOME is known only now
    from infra_tasks.tasks import run_spec  # noqa: PLC0415

    for _ in range(4):
        run_spec.delay({"command": [TRUE], "node": NODE}).get(timeout=60)
    side = Side(app, f"worker@{NODE}", f"node.{NODE}", lambda: book.runs.counts()["SUCCESS"], partial(_fill_ours, book))
    side.off()
    return side


def _floor(celery: PlainCelery) -> Side:
    client = redis_client.Redis.from_url(celery.url)
    celery.worker("--hostname", "plain@bench")
    wait_for_worker(celery)
    side = Side(celery.app(), "plain@bench", "celery", lambda: -client.llen("celery"), partial(_fill_plain, celery))
    side.off()
    return side


def _fill_ours(book: Ledger, waiting: int) -> None:
    from infra_tasks.tasks import submit_many  # noqa: PLC0415

    missing = waiting - book.runs.counts()["QUEUED"]
    submit_many([{"command": [TRUE], "node": NODE}] * missing)


def _fill_plain(celery: PlainCelery, waiting: int) -> None:
    """Send one message as Celery does, and push copies of it with other ids: faster, and nobody measures this."""
    from benchmarks.plain import run  # noqa: PLC0415

    client = redis_client.Redis.from_url(celery.url, decode_responses=True)
    text = None
    while text is None:  # a consumer that was cancelled still takes what it had asked for
        task_id = run.delay([TRUE]).id
        text = client.lindex("celery", 0)
    missing = waiting - client.llen("celery")
    with client.pipeline(transaction=False) as pipe:
        for _ in range(missing):
            pipe.lpush("celery", str(text).replace(task_id, str(uuid4())))
        pipe.execute()
    client.close()


def _with_events_and_flower(celery: PlainCelery, floor: Side, rounds: int) -> float:
    flower = celery.flower()
    celery.app().control.enable_events()
    eventually(lambda: _listeners(celery.url), 30, "Flower listens")
    rate = median([floor.per_s(MANY) for _ in range(rounds)])
    celery.end(flower)
    return rate


def _listeners(url: str) -> bool:
    client = redis_client.Redis.from_url(url)
    try:
        return any(b"celeryev" in name for name in client.pubsub_channels()) or bool(client.pubsub_numpat())
    finally:
        client.close()
