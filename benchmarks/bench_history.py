"""That 1,000,000 finished runs slow nothing down: submit, claim, sweep and a list of the newest, beside 1,000 of them.

And what the two cost that do go through the history: the audit of all of it, and its export.
"""

from __future__ import annotations

import resource
import sys
import time
from statistics import median
from typing import TYPE_CHECKING

from benchmarks.bed import NODE, TRUE, folder, redis
from benchmarks.figure import Figure
from benchmarks.rounds import timed
from infra_tasks.history.archive import Archive
from infra_tasks.ledger import Ledger
from infra_tasks.ledger.runs import Submission
from infra_tasks.model.audit import check_run
from infra_tasks.model.outcome import KEEP_S
from infra_tasks.model.spec import RunSpec
from infra_tasks.settings import Home

if TYPE_CHECKING:
    from collections.abc import Callable

FINISHED = 1_000_000
ROUNDS = 200
A_FEW, A_LOAD = 1_000, 10_000
EXPORTED = 10_000
AUDITED = 100_000
RUNS_PER_S = 300  # a million within an hour
# A move that takes twice as long may be the machine's doing: no growth, where there is a thousand times more.
GROWTH = 2.0
NOISE_MS = 0.5

# KEYS[1] prefix; ARGV: first number, how many, ledger time, wall time, spec, result. As the scripts leave such runs.
LOAD = """
local function key(...) return KEYS[1] .. table.concat({...}, ':') end
local recent, ids, ended = {}, {}, {}
for n = ARGV[1], ARGV[1] + ARGV[2] - 1 do
  local id = string.format('old-%08d', n)
  redis.call('HSET', key('run', id), 'state', 'SUCCESS', 'spec', ARGV[5], 'result', ARGV[6], 'queue', 'node.n1',
    'node', 'n1', 'claim_node', 'n1', 'attempt', 1, 'claim', 'c', 'submitted_at', ARGV[4], 'ended_at', ARGV[4],
    'timeout_s', 60, 'lease_until', '')
  redis.call('RPUSH', key('story', id), '{"at":1,"from":"","to":"QUEUED","actor":"submit","cause":"submitted"}',
    '{"at":2,"from":"QUEUED","to":"STARTED","actor":"n1","cause":"claimed by n1","token":"1:c"}',
    '{"at":3,"from":"STARTED","to":"SUCCESS","actor":"n1","cause":"exit code 0","token":"1:c"}')
  redis.call('SET', 'celery-task-meta-' .. id, '{"status": "SUCCESS", "result": ' .. ARGV[6] .. '}')
  for _, one in ipairs({{recent, ARGV[4]}, {ids, 0}, {ended, ARGV[3]}}) do
    one[1][#one[1] + 1] = one[2]; one[1][#one[1] + 1] = id
  end
  if #ids >= 2000 or n == ARGV[1] + ARGV[2] - 1 then
    redis.call('ZADD', key('recent'), unpack(recent)); redis.call('ZADD', key('ids'), unpack(ids))
    redis.call('ZADD', key('ended'), unpack(ended)); recent, ids, ended = {}, {}, {}
  end
end
redis.call('HINCRBY', key('counts'), 'SUCCESS', ARGV[2])
redis.call('HINCRBY', key('totals'), 'submitted', ARGV[2])
"""
RESULT = (
    '{"id": "old", "state": "SUCCESS", "reason": null, "exit_code": 0, "stdout_tail": "' + "line of output " * 10 + '"}'
)


def figures(*, quick: bool) -> list[Figure]:
    """Measure each move with a few finished runs behind it, and with a million."""
    finished = FINISHED // (10 if quick else 1)
    with folder() as home, redis(home) as server:
        ledger = Ledger.at(server.url)
        _load(ledger, 0, A_FEW)
        moves = _moves(ledger)
        before = {name: _typical_ms(move) for name, move in moves.items()}
        for first in range(A_FEW, finished, A_LOAD):
            _load(ledger, first, min(A_LOAD, finished - first))
        after = {name: _typical_ms(move) for name, move in moves.items()}
        rows = [_held(name, after[name], before[name], finished) for name in moves]
        rows += [_audited(ledger), _exported(ledger, Home(home / "node"))]
        ledger.close()
    return rows


def _moves(ledger: Ledger) -> dict[str, Callable[[], object]]:
    spec, made = RunSpec(command=[TRUE], node=NODE), iter(range(10**9))
    waiting: list[str] = []

    def submit() -> None:
        waiting.append(ledger.runs.submit(Submission(f"new-{next(made)}", spec)))

    def claim() -> None:
        said = ledger.claims.claim(waiting.pop(), 1, "c", node=NODE, uuid="u", slots=10**6, labels=[], actor=NODE)
        assert said["said"] == "claimed", said

    def newest() -> None:
        found = ledger.search().newest(lambda _: True, 20)
        assert ledger.runs.get_many([run.id for run in found.runs])

    return {"submit": submit, "claim": claim, "sweep": lambda: ledger.claims.sweep(NODE), "infra runs": newest}


def _typical_ms(move: Callable[[], object]) -> float:
    return median(timed(move) for _ in range(ROUNDS)) * 1e3


def _load(ledger: Ledger, first: int, many: int) -> None:
    client = ledger.scripts.client
    now = client.hget(ledger.scripts.key("clock"), "now") or "0"
    spec = RunSpec(command=[TRUE], node=NODE).to_json()
    client.eval(LOAD, 1, ledger.scripts.prefix, first, many, now, str(time.time() - 60), spec, RESULT)


def _held(name: str, ours: float, floor: float, finished: int) -> Figure:
    ok = ours < floor * GROWTH + NOISE_MS
    return Figure(f"{name}, {finished:,} finished / {A_FEW:,}", ours, "ms", floor, "not growing", ok)


def _audited(ledger: Ledger) -> Figure:
    """Look runs over as the audit does; its memory must not grow with their number."""
    before, began, looked = _peak_mib(), time.monotonic(), 0
    for rows in ledger.auditing.all():
        wrong = [found for row in rows for found in check_run(row, KEEP_S)]
        assert not wrong, f"not as the scripts leave it: {wrong[0]}"
        looked += len(rows)
        if looked >= AUDITED:
            break
    took, grew = time.monotonic() - began, _peak_mib() - before
    return Figure(f"audit of {looked:,} runs (memory grew {grew:.0f} MiB)", took, "s", None, "< 50 MiB more", grew < 50)


def _exported(ledger: Ledger, home: Home) -> Figure:
    """Export batch after batch, each on the disk before it is forgotten."""
    archive, history, gone, began = Archive(home), ledger.history, 0, time.monotonic()
    while gone < EXPORTED:
        ids = history.leaving(NODE, 0.0).ids
        archive.add(history.read(ids))
        gone += history.forget(ids, 0.0, exported=True)
    rate = gone / (time.monotonic() - began)
    return Figure(f"export of {EXPORTED:,} runs", rate, "runs/s", None, f"> {RUNS_PER_S} runs/s", rate > RUNS_PER_S)


def _peak_mib() -> float:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 1024
