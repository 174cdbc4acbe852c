"""Two nodes without roles: n1 carries runs out, n2 may be the home of their outputs. With ledger, shims and folders."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from infra_tasks import fetch, live
from infra_tasks.execute import Executor
from infra_tasks.fetch import Fetcher
from infra_tasks.model.hint import FETCH_TASK, fetch_asked
from infra_tasks.node import NodeHere
from infra_tasks.releases.remote.fetch import fetch_files
from infra_tasks.runner.launch import Zygote
from infra_tasks.settings import Home
from infra_tasks.submit import submission
from workers.minding import Minder

if TYPE_CHECKING:
    from infra_tasks.ledger import Ledger


class Rig:
    """Two nodes of a fleet: n1 carries runs out, without Celery, and n2 may be their home."""

    def __init__(self, root: Path, ledger: Ledger, broker: str) -> None:
        self.homes = {name: Home(root / name) for name in ("n1", "n2")}
        self.home, self.other = self.homes["n1"], self.homes["n2"]
        nodes = {
            name: {"ssh": "local", "root": str(home.root), "slots": 8, "labels": []}
            for name, home in self.homes.items()
        }
        for home in self.homes.values():
            home.root.mkdir()
            home.nodes_json.write_text(json.dumps({"fleet": "t", "broker": broker, "nodes": nodes}))
        self.ledger = ledger
        self.zygote = Zygote()
        self.here = NodeHere(self.home)
        self.executor = Executor(self.here.current, ledger, self.zygote)
        self.minder = Minder(self.home, ledger, "n1")
        self.queue = "dispatch.n2"
        ledger.scripts.client.delete(self.queue)

    def submit(self, command: str | list[str], *outputs: str, at: Home | None = None, **spec: Any) -> str:
        said = {"command": command, "node": "n1", **({"outputs": list(outputs)} if outputs else {}), **spec}
        return self.ledger.runs.submit(submission(said, self.here.current().fleet, home=at or self.home))

    def run(self, command: str | list[str], *outputs: str, **more: Any) -> dict[str, Any]:
        return self.executor.follow(self.submit(command, *outputs, **more)).result

    def turn_of_the_agent(self) -> bool:
        """Make one; True when nothing is left to report."""
        entries = list(live.attempts(self.home))
        self.minder.run_once(entries)
        self.minder.report_ended(entries)
        return not list(live.attempts(self.home))

    def result(self, run_id: str) -> dict[str, Any]:
        found = self.ledger.runs.get(run_id)
        assert found is not None
        assert found.result is not None
        return found.result

    def asked(self) -> list[tuple[str, int, str]]:
        """Take what n2 was asked to fetch out of its queue."""
        texts = self.ledger.scripts.client.lpop(self.queue, 100) or []
        heads = [json.loads(text)["headers"] for text in texts]
        assert {head["task"] for head in heads} <= {FETCH_TASK}
        return [fetch_asked(head["id"]) for head in heads]

    def fetcher(self, carry: fetch.Carrier = fetch_files) -> Fetcher:
        return Fetcher(NodeHere(self.other).current, self.ledger, carry)

    def n2_speaks(self) -> None:
        """Have n2 count as one that speaks for the next hour, however slowly the test gets on."""
        self.ledger.claims.renew(
            patience_s=5, node="n2", uuid="u2", boot_id="b", slots=2, labels="[]", version="0", info="{}", live=[]
        )
        self.ledger.scripts.client.hset(self.ledger.scripts.key("node", "n2"), "seen_at", time.time() + 3600)


def held(folder: Path | str) -> dict[str, str]:
    return {os.path.relpath(path, folder): path.read_text() for path in Path(folder).rglob("*") if path.is_file()}
