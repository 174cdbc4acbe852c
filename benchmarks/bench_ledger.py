"""What a node's renewal of 1,000 live attempts costs, and how fast 8 nodes claim from one ledger.

The floors are bare scripts that read and write as many keys of the same kinds.
"""

from __future__ import annotations

import json
import multiprocessing
import time
from concurrent.futures import ProcessPoolExecutor
from statistics import median
from typing import TYPE_CHECKING
from uuid import uuid4

from benchmarks.bed import TRUE, folder, redis
from benchmarks.figure import Figure
from benchmarks.rounds import in_turns, timed
from infra_tasks.ledger import Ledger
from infra_tasks.ledger.runs import Submission
from infra_tasks.model.spec import RunSpec
from infra_tasks.routing import pool_queue

if TYPE_CHECKING:
    from collections.abc import Callable

    from redis_process import RedisProcess

LIVE = 1000
WITHIN_MS = 100  # nobody else is answered meanwhile
NODES = 8
# Claimed by each node in a round.
CLAIMED = 200
OWN = 1000  # claims of which Redis' own part is measured
KEEPS_UP = 0.8
BEGIN_IN_S = 0.3
QUEUE, FLOOR_QUEUE = pool_queue(()), "floor"

# For each attempt a renewal reads ten fields, puts its run among those of its node, and writes its lease twice.
RENEW_FLOOR = """
for n = 1, tonumber(ARGV[1]) do
  redis.call('HMGET', 'floor:run:' .. n, 'a', 'b', 'c', 'd', 'e', 'f', 'g', 'h', 'i', 'j')
  redis.call('SADD', 'floor:node', n)
  redis.call('HSET', 'floor:run:' .. n, 'lease', '1234567.123456')
  redis.call('ZADD', 'floor:due', '1234567.123456', n)
end
"""
# The reads and the writes of a claim, and a record as answer.
CLAIM_FLOOR = """
redis.call('TIME')
redis.call('HMGET', 'floor:clock', 'now', 'seen')
redis.call('HSET', 'floor:clock', 'now', '1234567.123456', 'seen', '1234567.123456')
redis.call('HMGET', 'floor:epoch', 'server', 'safe', 'longest')
redis.call('HMGET', 'floor:run:' .. ARGV[1], 'a', 'b', 'c', 'd', 'e', 'f', 'g', 'h', 'i', 'j', 'k', 'l', 'm')
redis.call('HMGET', 'floor:uuid', 'uuid', 'cordoned')
redis.call('SCARD', 'floor:live')
redis.call('SADD', 'floor:live', ARGV[1])
redis.call('ZREM', 'floor:waiting', ARGV[1])
redis.call('SREM', 'floor:ahead', ARGV[1])
redis.call('HSET', 'floor:run:' .. ARGV[1], 'a', '1', 'b', '2', 'c', '3', 'd', '4', 'e', '5', 'state', 'STARTED')
redis.call('ZADD', 'floor:due', '1234567.123456', ARGV[1])
redis.call('HINCRBY', 'floor:counts', 'QUEUED', -1)
redis.call('HINCRBY', 'floor:counts', 'STARTED', 1)
redis.call('RPUSH', 'floor:story:' .. ARGV[1], ARGV[2])
redis.call('LTRIM', 'floor:story:' .. ARGV[1], -200, -1)
return cjson.encode(redis.call('HGETALL', 'floor:run:' .. ARGV[1]))
"""
STORY = json.dumps({"at": "1.0", "from": "QUEUED", "to": "STARTED", "actor": "worker n1", "cause": "claimed by n1"})


def figures(*, quick: bool) -> list[Figure]:
    """Measure on a Redis that syncs every write, as ours does."""
    with folder() as home, redis(home) as server:
        return [*_renewals(server, 5 if quick else 30), *_claims(server, 3 if quick else 7)]


def _renewals(server: RedisProcess, rounds: int) -> list[Figure]:
    ledger = Ledger.at(server.url, prefix="renew:")
    tokens = _claim_many(ledger, LIVE)
    bare = ledger.scripts.client.register_script(RENEW_FLOOR)
    ours, floor = in_turns(
        rounds, lambda: timed(lambda: _renew(ledger, tokens)), lambda: timed(lambda: bare([], [LIVE]))
    )
    here, there = median(ours) * 1e3, median(floor) * 1e3
    blocked = _own_ms(ledger, lambda: _renew(ledger, tokens), rounds)
    idle = _own_ms(ledger, lambda: bare([], [LIVE]), rounds)
    longest = f"< {WITHIN_MS} ms"
    ledger.close()
    return [
        Figure(f"renewal of {LIVE:,} leases in one call / bare script", here, "ms", there, longest, here < WITHIN_MS),
        Figure("  Redis answers nobody else meanwhile", blocked, "ms", idle, longest, blocked < WITHIN_MS),
    ]  # fmt: skip


def _submit(ledger: Ledger, many: int) -> list[str]:
    spec = RunSpec(command=[TRUE])
    ids = [uuid4().hex for _ in range(many)]
    return ledger.runs.submit_many([Submission(run_id, spec) for run_id in ids])


def _claim(ledger: Ledger, run_id: str, node: str) -> dict[str, object]:
    return ledger.claims.claim(
        run_id, 1, f"claim-{node}", node=node, uuid=f"uuid-{node}", slots=10**6, labels=(), actor=f"worker {node}"
    )


def _claim_many(ledger: Ledger, many: int) -> list[dict[str, object]]:
    ids = _submit(ledger, many)
    for run_id in ids:
        assert _claim(ledger, run_id, "n1")["said"] == "claimed"
    ledger.scripts.client.delete(QUEUE)
    return [{"run": run_id, "attempt": 1, "claim": "claim-n1"} for run_id in ids]


def _renew(ledger: Ledger, tokens: list[dict[str, object]]) -> None:
    said = ledger.claims.renew(
        patience_s=0, node="n1", uuid="uuid-n1", boot_id="b", slots=LIVE, labels="[]", version="0", info="{}",
        longest_s=120, live=tokens, most_running={},
    )  # fmt: skip
    assert all(one.get("leased") for one in said["attempts"].values()), said
    assert len(said["attempts"]) == len(tokens)


def _own_ms(ledger: Ledger, do: Callable[[], object], times: int) -> float:
    """Return how long Redis is at one of so many calls: its processor time, so others on the machine do not matter."""
    before = _processor_s(ledger)
    for _ in range(times):
        do()
    return (_processor_s(ledger) - before) / times * 1e3


def _processor_s(ledger: Ledger) -> float:
    said = ledger.scripts.client.info("cpu")
    return float(said["used_cpu_user"]) + float(said["used_cpu_sys"])


def _claims(server: RedisProcess, rounds: int) -> list[Figure]:
    ledger = Ledger.at(server.url)
    with ProcessPoolExecutor(NODES, mp_context=multiprocessing.get_context("spawn")) as nodes:
        fleet = Fleet(ledger, server.url, nodes)
        fleet.per_s(NODES)  # until all of them live
        alone, _ = in_turns(rounds, lambda: fleet.per_s(1), lambda: fleet.per_s(1, bare=True))
        eight, floor = in_turns(rounds, lambda: fleet.per_s(NODES), lambda: fleet.per_s(NODES, bare=True))
    ids, bare_script = iter(_submit(ledger, OWN)), ledger.scripts.client.register_script(CLAIM_FLOOR)
    each = _own_ms(ledger, lambda: _claim(ledger, next(ids), "n1"), OWN)
    least = _own_ms(ledger, lambda: bare_script([], [uuid4().hex, STORY]), OWN)
    ledger.close()
    one, all_of_them, bare = median(alone), median(eight), median(floor)
    return [
        Figure("claims /s of 8 nodes, hints taken / bare script", all_of_them, "/s", bare),
        Figure("  the same / one node alone", all_of_them, "/s", one, f">= {KEEPS_UP}x", all_of_them >= KEEPS_UP * one),
        Figure("  Redis' own part of a claim", each, "ms", least),
    ]


class Fleet:
    """Processes that take hints and claim, as the children of workers do, or the same without the ledger."""

    def __init__(self, ledger: Ledger, url: str, nodes: ProcessPoolExecutor) -> None:
        self._ledger, self._url, self._nodes = ledger, url, nodes

    def per_s(self, nodes: int, *, bare: bool = False) -> float:
        """Return how many claims so many nodes make in a second, all of them together."""
        client, many = self._ledger.scripts.client, CLAIMED * NODES
        if bare:
            client.lpush(FLOOR_QUEUE, *(f"r{number}" for number in range(many)))
        else:
            _submit(self._ledger, many)
        begin = time.monotonic() + BEGIN_IN_S
        asked = [self._nodes.submit(_take, self._url, f"n{number}", begin, many // nodes, bare=bare)
                 for number in range(nodes)]  # fmt: skip
        done = [one.result() for one in asked]
        assert sum(count for count, _ in done) == many, done
        return many / (max(end for _, end in done) - begin)


def _take(url: str, node: str, begin: float, many: int, *, bare: bool) -> tuple[int, float]:
    """Be a node: from `begin` on take hints and claim what they speak of; return how many, and when that was done."""
    ledger = Ledger.at(url)
    client = ledger.scripts.client
    script = client.register_script(CLAIM_FLOOR)
    client.ping()
    time.sleep(max(0.0, begin - time.monotonic()))
    for _ in range(many):
        _, hint = client.brpop([FLOOR_QUEUE if bare else QUEUE], timeout=10)
        if bare:
            script([], [hint, STORY])
        else:
            assert _claim(ledger, json.loads(hint)["headers"]["id"], node)["said"] == "claimed"
    end = time.monotonic()
    ledger.close()
    return many, end
