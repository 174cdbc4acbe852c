"""From a death to the next command: the worker or the whole node killed -9, a hint lost, a worker that is stopped.

The floor of a kill is what cannot be saved: the start of a bare Celery worker to its first command.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

from benchmarks.bed import (
    NODE,
    ROOT,
    Doorbell,
    PlainCelery,
    WholeNode,
    eventually,
    folder,
    pause,
    plain_celery,
    whole_node,
)
from benchmarks.figure import Figure
from benchmarks.rounds import in_turns, median

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from infra_tasks.ledger import Ledger

WANTED_S = 2.0
DEAD_WORKER_S = 5.0
LOST_HINT_S = 15.0
# The watcher forgives one death per 10 s of life: a role that dies in every round is not what is measured.
FORGIVEN_AFTER_S = 12.0
SLOTS = 2
WAITING = 20
EVERYTHING = ("watcher", "redis", "agent", "control", "worker", "children", "beat", "flower")


def figures(*, quick: bool) -> list[Figure]:
    """Measure on one node, each death with a command that waits for what comes after it."""
    rounds = 2 if quick else 5
    with folder() as home, folder() as other, plain_celery(other) as celery, whole_node(home, SLOTS) as node:
        rig = Rig(home, node)
        rig.next_command()
        bare = lambda: _started(celery, rig.bell)  # noqa: E731
        killed, floor = in_turns(rounds, rig.worker_killed, bare)
        waited, start_then = in_turns(rounds, rig.worker_killed_while_runs_wait, bare)
        lost = [rig.hint_lost() for _ in range(rounds)]
        stopped = [rig.worker_stopped() for _ in range(1 if quick else 3)]
        whole, last_start = in_turns(rounds, rig.node_killed, bare)
        rig.close()
    again, start, dead, hint = median(killed), median(floor), max(waited), max(lost)
    return [
        _within("kill -9 of the worker to its next command", again, WANTED_S, start),
        _within(f"  with {WAITING} runs waiting, slowest of {rounds}", dead, DEAD_WORKER_S, max(start_then)),
        Figure("  of the whole node, which its service starts anew", median(whole), "s", median(last_start)),
        Figure("kill -STOP of the worker to the next command", max(stopped), "s"),
        _within(f"a hint is lost, slowest of {rounds}", hint, LOST_HINT_S),
    ]


def _within(what: str, took_s: float, wanted_s: float, floor_s: float | None = None) -> Figure:
    return Figure(what, took_s, "s", floor_s, f"<= {wanted_s:g} s", took_s <= wanted_s)


class Rig:
    """A node, a bell that commands ring, and what can be done to the node: each returns the seconds until it rings."""

    def __init__(self, home: Path, node: WholeNode) -> None:
        from infra_tasks import run_spec, submit_many  # noqa: PLC0415  INFRA_HOME is known only now

        self.node, self.bell = node, Doorbell(home)
        self._watchers: list[subprocess.Popen[bytes]] = []
        self._home = home
        self._spec = {"command": self.bell.command, "node": NODE}
        self._delay, self._submit_many = run_spec.delay, submit_many

    def next_command(self) -> float:
        """Return when a run that is handed in now rings."""
        self._delay(self._spec)
        return self.bell.wait()

    def worker_killed(self) -> float:
        pause(FORGIVEN_AFTER_S)
        self.node.kill("worker")
        begin = time.perf_counter()
        return self.next_command() - begin

    def worker_killed_while_runs_wait(self) -> float:
        """The slots are full, runs wait, worker and commands die: until the first of those that wait begins."""
        pause(FORGIVEN_AFTER_S)
        end = self._fill()
        ids = [one.id for one in self._submit_many([self._spec] * WAITING)]
        self.node.kill("worker", "children")
        begin = time.perf_counter()
        end()
        took = self.bell.wait() - begin
        for _ in ids[1:]:
            self.bell.wait()
        return took

    def worker_stopped(self) -> float:
        pause(FORGIVEN_AFTER_S)
        worker = self.node.role_pid("worker")
        assert worker is not None
        os.kill(worker, signal.SIGSTOP)
        begin = time.perf_counter()
        return self.next_command() - begin

    def hint_lost(self) -> float:
        """A run waits behind full slots, its hint is deleted, and the slots get free at once."""
        end = self._fill()
        book: Ledger = self.node.ledger()
        run = self._delay(self._spec).id
        assert book.scripts.client.delete(f"node.{NODE}") == 1, f"the hint of {run} was gone before"
        begin = time.perf_counter()
        end()
        took = self.bell.wait() - begin
        book.close()
        return took

    def node_killed(self) -> float:
        """A run waits behind full slots, all of the node but its commands dies, its service starts the watcher anew."""
        pause(FORGIVEN_AFTER_S)
        end = self._fill()
        self._delay(self._spec)
        self.node.kill(*EVERYTHING)
        begin = time.perf_counter()
        self._watchers.append(self._watcher())
        end()
        took = self.bell.wait() - begin
        eventually(lambda: all(self.node.role_pid(role) for role in self.node.roles), 60, "every role lives")
        return took

    def close(self) -> None:
        self.bell.close()
        for watcher in self._watchers:
            watcher.kill()
            watcher.wait()

    def _watcher(self) -> subprocess.Popen[bytes]:
        argv = [sys.executable, "-m", "workers.watcher"]
        return subprocess.Popen(argv, env=self.node.env, cwd=ROOT, stderr=subprocess.DEVNULL)

    def _fill(self) -> Callable[[], object]:
        """Fill all slots; return what empties them."""
        place = self._home / f"filled-{time.monotonic_ns()}"
        place.mkdir()
        command = ["/bin/sh", "-c", f"touch {place}/$INFRA_RUN; until [ -e {place}/end ]; do sleep 0.01; done"]
        self._submit_many([{"command": command, "node": NODE}] * SLOTS)
        eventually(lambda: len(list(place.iterdir())) == SLOTS, 60, "the slots are full")
        return (place / "end").touch


def _started(celery: PlainCelery, bell: Doorbell) -> float:
    from benchmarks.plain import run  # noqa: PLC0415

    celery.app()
    run.delay(bell.command)
    begin = time.perf_counter()
    worker = celery.worker("--without-mingle", "--without-gossip")
    took = bell.wait() - begin
    celery.end(worker)
    return took
