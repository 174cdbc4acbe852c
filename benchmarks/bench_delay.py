"""What accepting costs its caller: `delay()` and `submit_many`, beside plain Celery's `delay()` on the same Redis."""

from __future__ import annotations

from benchmarks.bed import NODE, TRUE, bare_fleet, folder
from benchmarks.figure import Figure
from benchmarks.rounds import in_turns, median, timed

MANY = 1000
AT_MOST = 1.5
MANY_FASTER = 5.0


def figures(*, quick: bool) -> list[Figure]:
    """Measure; nobody consumes, so that only the caller and Redis work."""
    with folder() as home, bare_fleet(home) as server:
        from benchmarks import plain  # noqa: PLC0415  INFRA_HOME is known only now
        from infra_tasks import run_spec, submit_many  # noqa: PLC0415

        plain.app.conf.update(broker_url=server.url, result_backend=server.url)
        spec = {"command": [TRUE], "node": NODE}
        run_spec.delay(spec)
        plain.run.delay([TRUE])
        one, plain_one = in_turns(
            300 if quick else 1500,
            lambda: timed(lambda: run_spec.delay(spec)),
            lambda: timed(lambda: plain.run.delay([TRUE])),
        )
        many, plain_many = in_turns(
            3 if quick else 7,
            lambda: timed(lambda: submit_many([spec] * MANY)),
            lambda: timed(lambda: [plain.run.delay([TRUE]) for _ in range(MANY)]),
        )
    ours, floor = median(one) * 1e3, median(plain_one) * 1e3
    fast, slow = median(many) * 1e3, median(plain_many) * 1e3
    return [
        Figure("delay() of a plain spec / Celery delay()", ours, "ms", floor, "<= 1.5x", ours <= AT_MOST * floor),
        Figure("submit_many(1,000) / 1,000 x delay()", fast, "ms", slow, "<= 0.2x", fast * MANY_FASTER <= slow),
    ]
