"""Three whole nodes on one Redis: how a slowed one shares in a pool, and when the run of a dead one goes on elsewhere.

A node is slowed in what its commands take: each sleeps as long as a file of its node says, three times as long on the
slow one. So the machine, which all of them share, is not what is measured.
"""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING

from benchmarks.bed import eventually, folder, three_nodes
from benchmarks.figure import Figure

if TYPE_CHECKING:
    from pathlib import Path

    from three_nodes import ThreeNodes

    from infra_tasks.ledger import Ledger

SLOTS = 2
MANY, FEW = 300, 60
RUN_S, SLOWER = 1.0, 3
SLOW = "n3"
SHARE, TIMES_IDEAL = 0.25, 1.3
# As short as specs may have it: 15 s of it are the margin for clocks.
LOST_AFTER_S, STOP_AFTER_S, GRACE_S = 20.0, 4.0, 1.0
LATE_S = 10.0

PACED = ["/bin/sh", "-c", 'sleep "$(cat "$0/pace.$INFRA_NODE")"']
# The first attempt stays until its node dies, the next one says that it is there.
STAYS = ["/bin/sh", "-c", 'touch "$0/$INFRA_RUN.$INFRA_ATTEMPT.$INFRA_NODE"; [ "$INFRA_ATTEMPT" -gt 1 ] || sleep 600']


def figures(*, quick: bool) -> list[Figure]:
    """Measure on one fleet, the balance first."""
    with folder() as home, three_nodes(home, SLOTS) as fleet:
        book = fleet[fleet.source].ledger()
        found = [*_balance(book, home, FEW if quick else MANY), *_dead_nodes(book, fleet, home, 1 if quick else 3)]
        book.close()
    return found


def _balance(book: Ledger, home: Path, many: int) -> list[Figure]:
    from infra_tasks import submit_many  # noqa: PLC0415  INFRA_HOME is known only now

    for node in ("n1", "n2", SLOW):
        (home / f"pace.{node}").write_text(str(RUN_S * (SLOWER if node == SLOW else 1)))
    ids = [one.id for one in submit_many([{"command": [*PACED, str(home)]}] * many)]
    eventually(lambda: book.runs.counts()["SUCCESS"] == many, many * RUN_S, "all have run")
    runs = book.runs.get_many(ids)
    took_s = max(run.at("ended_at") or 0 for run in runs) - min(run.at("submitted_at") or 0 for run in runs)
    shares = Counter(run.claim_node for run in runs)
    speed = SLOTS * (2 + 1 / SLOWER) / RUN_S
    ideal_s, share = many / speed, shares[SLOW] / many
    ideal_share = SLOTS / SLOWER / RUN_S / speed
    return [
        Figure(f"{many} runs, one of three nodes slowed to a third / ideal", took_s, "s", ideal_s, f"<= {TIMES_IDEAL}x",
               took_s <= TIMES_IDEAL * ideal_s),
        Figure("  share of the slow node / ideal", 100 * share, "%", 100 * ideal_share, "<= 25 %", share <= SHARE),
    ]  # fmt: skip


def _dead_nodes(book: Ledger, fleet: ThreeNodes, home: Path, rounds: int) -> list[Figure]:
    took_s = max(_dead_node(book, fleet, home) for _ in range(rounds))
    what = f"a node dies, to its run's next attempt, slowest of {rounds} / lease"
    within_s = LOST_AFTER_S + LATE_S
    return [Figure(what, took_s, "s", LOST_AFTER_S, f"<= {within_s:g} s", took_s <= within_s)]


def _dead_node(book: Ledger, fleet: ThreeNodes, home: Path) -> float:
    """Kill the machine a run is on: watcher, roles, shim and command, all at once."""
    from infra_tasks import run_spec  # noqa: PLC0415

    lease = {"lost_after_s": LOST_AFTER_S, "stop_after_s": STOP_AFTER_S, "grace_s": GRACE_S}
    run = run_spec.delay({"command": [*STAYS, str(home)], **lease}).id
    first = eventually(lambda: next(home.glob(f"{run}.1.*"), None), 60, "it runs")
    node = fleet[first.suffix.removeprefix(".")]
    node.close()
    begin = time.monotonic()
    eventually(lambda: next(home.glob(f"{run}.2.*"), None), LOST_AFTER_S + 60, "it runs elsewhere")
    took = time.monotonic() - begin
    eventually(lambda: book.runs.peek(run)[0] == "SUCCESS", 60, "its end is told")
    node.up()
    return took
