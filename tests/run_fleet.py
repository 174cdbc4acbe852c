"""A fleet of one node over a real Redis, whose runs are accepted, taken and ended by the test and by nobody else."""

from __future__ import annotations

import json
import os
import subprocess
import time
from contextlib import contextmanager
from uuid import uuid4

from cli_process import INFRA, environment, infra
from waiting import eventually

from infra_tasks import awaiting
from infra_tasks.cli import nodes_file
from infra_tasks.ledger import open_ledger
from infra_tasks.model import outcome
from infra_tasks.model.outcome import Ending
from infra_tasks.model.run import State
from infra_tasks.runner.attempt import Attempt
from infra_tasks.runner.output import Segments
from infra_tasks.settings import Home
from infra_tasks.submit import submit


def fleet_at(root, url):
    """Give a fleet whose only node `n1` lives in `root` and whose Redis, emptied now, is at `url`."""
    home = Home(root)
    nodes_file.create(home, {"name": "n1"}, {})
    raw = json.loads(home.nodes_json.read_text())
    home.nodes_json.write_text(json.dumps({**raw, "broker": url}))
    made = TestFleet(home)
    made.ledger.scripts.client.flushall()
    yield made
    made.ledger.close()


def spoken_to(fleet, monkeypatch):
    """Have this process speak to a fleet, which is empty again; a short limit makes no outage of a slow answer."""
    monkeypatch.setenv("INFRA_HOME", str(fleet.home.root))
    monkeypatch.setattr(awaiting, "SHORTEST_ANSWER_S", 60.0)
    fleet.ledger.scripts.client.flushall()


class TestFleet:
    __test__ = False

    def __init__(self, home):
        self.home = home
        self.ledger = open_ledger(home)

    def infra(self, *line, **options):
        return infra(self.home.root, *line, **options)

    def json(self, *line):
        done = self.infra(*line, "--json")
        assert done.code == 0, done.err
        return json.loads(done.out)

    def accepts(self, *command, **spec):
        from infra_tasks.cli.door import open_fleet

        return submit(self.ledger, open_fleet(self.home), {"command": list(command or ["true"]), **spec})

    def takes(self, run_id, attempt=1):
        return Taken(self, run_id, attempt)

    def was_heard(self, node, at):
        """Have a node have spoken at a moment (wall seconds); one to come: it counts as speaking until then, and on."""
        self.ledger.scripts.client.hset(self.ledger.scripts.key("node", node), "seen_at", at)

    def waiting_run(self):
        return eventually(lambda: self.ledger.runs.recent(1), said="the run is accepted")[0].id


class Taken:
    """A claimed attempt whose output lies in the node's folder."""

    def __init__(self, fleet, run_id, attempt):
        self.fleet, self.id, self.attempt, self.claim = fleet, run_id, attempt, uuid4().hex
        self.folder = Attempt(fleet.home.attempt(run_id, attempt))
        self.lock = self.folder.take_lock()
        said = fleet.ledger.claims.claim(
            run_id, attempt, self.claim, node="n1", uuid="u1", slots=99, labels=[], actor="worker n1"
        )
        assert said["said"] == "claimed", said
        self.folder.write_record({"run": run_id})
        self._segments = {name: Segments(self.folder.path, name, 1 << 20) for name in ("stdout", "stderr")}

    def writes(self, data, stream="stdout"):
        self._segments[stream].write(data)

    def ends(self, state=State.SUCCESS, reason=None, cause="it ended", tails=("tail\n", ""), **exit_record):
        (self.folder.folder / "exit.json").write_text("{}")
        os.close(self.lock)
        seen = {"id": self.id, "node": "n1", "attempt": self.attempt}
        said = {"ended_at": time.time(), "started_at": time.time(), "duration_s": 1.5, **exit_record}
        results = tuple(outcome.result_of(seen, to, why, said, tails)
                        for to, why in [(state, reason), (State.REVOKED, None)])  # fmt: skip

        def is_final():
            token = (self.id, self.attempt, self.claim)
            answer = self.fleet.ledger.claims.finish(
                token,
                Ending(state, reason, cause),
                results,
                errors=("", ""),
                now=time.time(),
                actor="worker n1",
                settle_in_s=5,
            )
            if answer["said"] == "safe":  # its Redis came back: the node says what it holds, as agents do
                holds = {"run": self.id, "attempt": self.attempt, "claim": self.claim, "ended": False, "fields": {}}
                self.fleet.ledger.claims.present("n1", "u1", [holds], done=True)
            return answer["said"] == "final"

        eventually(is_final, 30, "the run is final")


@contextmanager
def started(fleet, *line):
    """`infra` in the background, its output in pipes."""
    process = subprocess.Popen([*INFRA, *line], env=environment(fleet.home.root), stdin=subprocess.DEVNULL,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE)  # fmt: skip
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
        process.stderr.close()
