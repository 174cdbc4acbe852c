"""A run whose output the test writes, an agent that ships it, and somebody who reads it along."""

from __future__ import annotations

import json
import os
import threading
import time
from contextlib import contextmanager
from uuid import uuid4

from waiting import eventually

from infra_tasks.follow import Piece, follow
from infra_tasks.ledger.runs import Submission
from infra_tasks.model import outcome
from infra_tasks.model.outcome import Ending
from infra_tasks.model.run import State
from infra_tasks.model.spec import RunSpec
from infra_tasks.runner.attempt import Attempt
from infra_tasks.runner.output import Segments
from infra_tasks.ship import Shipper


class Running:
    """A claimed run whose output the test writes, on the node that lives in `home`."""

    def __init__(self, ledger, home, run_id=None, attempt=1, node="n1", cap_bytes=64 * 1024 * 1024):
        self.ledger, self.home, self.attempt = ledger, home, attempt
        self.claim = uuid4().hex
        self.id = run_id or ledger.runs.submit(Submission(str(uuid4()), RunSpec(command=["true"], retries=3)))
        self.folder = Attempt(home.attempt(self.id, attempt))
        self.lock = self.folder.take_lock()
        said = ledger.claims.claim(
            self.id, attempt, self.claim, node=node, uuid=f"u-{node}", slots=99, labels=[], actor="test"
        )
        assert said["said"] == "claimed", said
        self.folder.write_record({"run": self.id, "attempt": attempt, "claim": self.claim})
        self._segments = {name: Segments(self.folder.path, name, cap_bytes) for name in ("stdout", "stderr")}

    def writes(self, data, stream="stdout"):
        self._segments[stream].write(data)

    def ends(self, *, retry_in_s=None):
        """The shim writes its exit record, the agent reports it."""
        (self.folder.folder / "exit.json").write_text(json.dumps({"outcome": "exited", "exit_code": 0}))
        os.close(self.lock)
        end = Ending(State.SUCCESS if retry_in_s is None else State.FAILURE, None, "test", retry_in_s=retry_in_s)
        result = outcome.result_of({"id": self.id}, end.to, None, {})
        said = self.ledger.claims.finish(
            (self.id, self.attempt, self.claim), end, (result, result), errors=("", ""),
            now=time.time(), actor="test", settle_in_s=5,
        )  # fmt: skip
        assert said["said"] in {"final", "retry"}, said

    def becomes_claimable(self):
        """Move the run on as the sweep does when its moment has come."""
        eventually(lambda: self._swept() or self.ledger.runs.peek(self.id)[0] == "QUEUED", said="the retry is due")

    def _swept(self):
        self.ledger.claims.sweep("n1")


@contextmanager
def agent_of(home, ledger):
    """The shipping part of an agent, turning like one."""
    stop, shipper = threading.Event(), Shipper(home, ledger)

    def turns():
        while not stop.is_set():
            if not shipper.turn():
                stop.wait(0.05)

    thread = threading.Thread(target=turns)
    thread.start()
    try:
        yield shipper
    finally:
        stop.set()
        thread.join()


def text_of(pieces, stream="stdout"):
    return b"".join(each.data for each in pieces if isinstance(each, Piece) and each.stream == stream)


def read_in_background(*args, **options):
    """Follow in a thread; return the list that fills and the thread."""
    got = []

    def read():
        for each in follow(*args, **options):
            got.append(each)  # noqa: PERF402  seen by the test as it fills

    thread = threading.Thread(target=read)
    thread.start()
    return got, thread
