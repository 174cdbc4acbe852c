"""What one turn of the sweep costs with 10,000 live runs, and that 100,000 finished ones make it no dearer."""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING

from benchmarks.bed import NODE, TRUE, folder, redis
from benchmarks.figure import Figure
from benchmarks.rounds import timed
from infra_tasks.ledger import Ledger
from infra_tasks.ledger.runs import Submission
from infra_tasks.model.spec import RunSpec

if TYPE_CHECKING:
    from collections.abc import Callable

LIVE = 10_000
FINISHED = 100_000
DUE = 200
WITHIN_MS = 100
# Turns differ by microseconds; below this no growth can be told from noise.
NOISE_MS = 2

# KEYS[1] prefix; ends the waiting runs n to m as the real scripts leave them, at a speed fit for a hundred thousand.
END_MANY = """
local ids = redis.call('ZRANGE', KEYS[1] .. 'live', 0, ARGV[1] - 1)
for _, id in ipairs(ids) do
  redis.call('HSET', KEYS[1] .. 'run:' .. id, 'state', 'SUCCESS', 'result', '{}')
  for _, index in ipairs({'live', 'due', 'waiting:node.' .. ARGV[2]}) do redis.call('ZREM', KEYS[1] .. index, id) end
  redis.call('ZADD', KEYS[1] .. 'ended', ARGV[3], id)
end
redis.call('HINCRBY', KEYS[1] .. 'counts', 'QUEUED', -#ids)
redis.call('HINCRBY', KEYS[1] .. 'counts', 'SUCCESS', #ids)
redis.call('LTRIM', 'node.' .. ARGV[2], 0, -1 - #ids)
"""


def figures(*, quick: bool) -> list[Figure]:
    """Measure turns in which nothing is due, and one in which as much is due as a turn takes."""
    finished = FINISHED // (10 if quick else 1)
    with folder() as home, redis(home) as server:
        ledger = Ledger.at(server.url)
        _submit(ledger, LIVE)
        before = _turn_ms(ledger)
        for _ in range(finished // 5000):
            _submit(ledger, 5000)
            ledger.scripts.client.eval(END_MANY, 1, ledger.scripts.prefix, "5000", NODE, str(_now(ledger)))
        assert len(ledger.runs.recent(5, live_only=True)) == 5
        after = _turn_ms(ledger)
        busy = _turn_ms(ledger, lambda: _make_due(ledger))
        idle = median(timed(ledger.scripts.client.ping) for _ in range(50)) * 1e3
        ledger.close()
    grows = after - before
    return [
        Figure(f"a sweep over {LIVE:,} live runs / PING", before, "ms", idle, f"< {WITHIN_MS} ms", before < WITHIN_MS),
        Figure(f"  and {finished:,} finished / without", after, "ms", before, "not growing", grows < NOISE_MS),
        Figure(f"  and {DUE} of them due", busy, "ms", after, f"< {WITHIN_MS} ms", busy < WITHIN_MS),
    ]


def _submit(ledger: Ledger, many: int) -> None:
    spec = RunSpec(command=[TRUE], node=NODE)
    first = sum(ledger.runs.counts().values())
    ledger.runs.submit_many([Submission(f"r{first + n}", spec) for n in range(many)])


def _turn_ms(ledger: Ledger, prepare: Callable[[], object] = lambda: None) -> float:
    """Return the best of many turns: what else the machine does is not what a turn costs."""
    turns = []
    for _ in range(40):
        prepare()
        turns.append(timed(lambda: ledger.claims.sweep(NODE)))
    return min(turns) * 1e3


def _make_due(ledger: Ledger) -> None:
    ids = ledger.scripts.client.zrange(ledger.scripts.key("live"), 0, DUE - 1)
    ledger.scripts.client.zadd(ledger.scripts.key("due"), dict.fromkeys(ids, 0.0))
    ledger.scripts.client.delete(f"node.{NODE}")
    waiting = ledger.scripts.key("waiting", f"node.{NODE}")
    ledger.scripts.client.zadd(waiting, dict.fromkeys(ids, -100.0))


def _now(ledger: Ledger) -> float:
    return float(ledger.scripts.client.hget(ledger.scripts.key("clock"), "now") or 0)
