"""From `delay()` to the first instruction of the command on an idle node, beside a plain Celery task that starts it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from benchmarks.bed import NODE, Doorbell, folder, pause, plain_celery, wait_for_worker, whole_node
from benchmarks.figure import Figure
from benchmarks.rounds import in_turns, percentile

if TYPE_CHECKING:
    from collections.abc import Callable

LATER_MS = 15
IDLE_S = 0.05


def figures(*, quick: bool) -> list[Figure]:
    """Measure with a node and a plain worker both idle, asked in turns."""
    with folder() as home, folder() as other, plain_celery(other) as celery, whole_node(home):
        from benchmarks import plain  # noqa: PLC0415
        from infra_tasks import run_spec  # noqa: PLC0415

        celery.worker()
        wait_for_worker(celery)
        bell = Doorbell(home)
        spec = {"command": bell.command, "node": NODE}
        for _ in range(6):
            run_spec.delay(spec).get(timeout=60)
            plain.run.delay(bell.command).get(timeout=60)
            bell.wait()
            bell.wait()
        ours, floor = in_turns(
            40 if quick else 200,
            lambda: _first_instruction(bell, lambda: run_spec.delay(spec)),
            lambda: _first_instruction(bell, lambda: plain.run.delay(bell.command)),
        )
        bell.close()
    p50, floor50 = percentile(ours, 0.5) * 1e3, percentile(floor, 0.5) * 1e3
    p99, floor99 = percentile(ours, 0.99) * 1e3, percentile(floor, 0.99) * 1e3
    return [
        Figure("delay() to first instruction, p50", p50, "ms", floor50, "<= +15 ms", p50 <= floor50 + LATER_MS),
        Figure("delay() to first instruction, p99", p99, "ms", floor99),
    ]


def _first_instruction(bell: Doorbell, submit: Callable[[], object]) -> float:
    begin = time.perf_counter()
    submit()
    rang = bell.wait()
    pause(IDLE_S)
    return rang - begin
