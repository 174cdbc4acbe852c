"""kill -9 of the worker to its next command, beside the start of a bare Celery worker to its first."""

from __future__ import annotations

import time

from benchmarks.bed import NODE, Doorbell, PlainCelery, WholeNode, folder, pause, plain_celery, whole_node
from benchmarks.figure import Figure
from benchmarks.rounds import in_turns, median

WANTED_S = 2.0
# The watcher forgives one death per 10 s of life: a worker that dies in every round is not what is measured.
FORGIVEN_AFTER_S = 12.0


def figures(*, quick: bool) -> list[Figure]:
    """Measure with a command waiting in both queues."""
    with folder() as home, folder() as other, plain_celery(other) as celery, whole_node(home) as node:
        from infra_tasks import run_spec  # noqa: PLC0415

        bell = Doorbell(home)
        spec = {"command": bell.command, "node": NODE}
        run_spec.delay(spec)
        bell.wait()
        ours, floor = in_turns(2 if quick else 5, lambda: _killed(node, bell, spec), lambda: _started(celery, bell))
        bell.close()
    again, start = median(ours), median(floor)
    return [Figure("kill -9 of the worker to its next command", again, "s", start, "<= 2 s", again <= WANTED_S)]


def _killed(node: WholeNode, bell: Doorbell, spec: dict[str, object]) -> float:
    from infra_tasks import run_spec  # noqa: PLC0415

    pause(FORGIVEN_AFTER_S)
    node.kill("worker")
    begin = time.perf_counter()
    run_spec.delay(spec)
    return bell.wait() - begin


def _started(celery: PlainCelery, bell: Doorbell) -> float:
    from benchmarks.plain import run  # noqa: PLC0415

    celery.app()
    run.delay(bell.command)
    begin = time.perf_counter()
    worker = celery.worker("--without-mingle", "--without-gossip")
    took = bell.wait() - begin
    celery.end(worker)
    return took
