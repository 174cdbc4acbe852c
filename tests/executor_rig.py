"""One node's executor without Celery: a real ledger, real folders, real shims."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from infra_tasks.execute import Executor
from infra_tasks.node import NodeHere
from infra_tasks.runner.launch import Zygote
from infra_tasks.submit import submit

if TYPE_CHECKING:
    from infra_tasks.ledger import Ledger
    from infra_tasks.settings import Home


class ExecutorRig:
    """One node's executor without Celery."""

    def __init__(self, home: Home, ledger: Ledger, broker: str) -> None:
        self.home = home
        self.ledger = ledger
        self.zygote = Zygote()
        home.nodes_json.write_text(
            json.dumps(
                {
                    "fleet": "t",
                    "broker": broker,
                    "nodes": {"n1": {"ssh": "local", "root": str(home.root)}, "n2": {"ssh": "a@b", "root": "/r"}},
                    "projects": {"gone": {"source": str(home.root / "nowhere"), "node": "n1"}},
                }
            )
        )
        self.here = NodeHere(home)
        self.executor = Executor(self.here.current, ledger, self.zygote)

    def submit(self, **spec: object) -> str:
        return submit(self.ledger, self.here.current().fleet, {"command": ["true"], "node": "n1", **spec})
