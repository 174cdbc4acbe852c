"""The table of a node's roles, in the order in which they start."""

from __future__ import annotations

import json
import signal
import sys
from dataclasses import dataclass, field, replace

from workers.policy import Patience

READY_S = 5.0  # a role that is not ready by then no longer holds up the ones after it


@dataclass(frozen=True)
class RolePlan:
    """How one role is run. `env` comes on top of the watcher's own; secrets are in neither (`ps` shows them)."""

    name: str
    argv: tuple[str, ...]
    env: tuple[tuple[str, str], ...] = ()
    patience: Patience = field(default_factory=Patience)
    ready_s: float = READY_S
    stop_signal: int = signal.SIGTERM
    answers_ping: bool = False  # heard by PING instead of its beat file
    uses_redis: bool = True  # started again when the embedded Redis had to move to another port

    def stamp(self, version: str, redis_port: int | None) -> str:
        """Return what a running process was started by: another stamp means it is to be renewed."""
        return json.dumps([version, self.argv, self.env, redis_port if self.uses_redis else None])

    def with_env(self, **env: str) -> RolePlan:
        """Return the plan with more environment."""
        return replace(self, env=tuple(sorted({**dict(self.env), **env}.items())))


def _python(module: str) -> tuple[str, ...]:
    return (sys.executable, "-m", module)


# Nothing goes on without it, and what kills it again and again (a full disk) passes: it is tried often.
REDIS = RolePlan(
    name="redis",
    argv=_python("workers.redis_server"),
    patience=Patience(boot_s=30, silence_s=20, stop_s=20, longest_delay_s=5),
    answers_ping=True,
    uses_redis=False,
)
AGENT = RolePlan(name="agent", argv=_python("workers.agent"), patience=Patience(boot_s=30, silence_s=15, stop_s=10))
CONTROL = RolePlan(
    name="control", argv=_python("workers.control"), patience=Patience(boot_s=30, silence_s=30, stop_s=10)
)
# SIGTERM would make Celery wait for its children, and those wait for commands that outlive the worker anyway.
WORKER = RolePlan(
    name="worker",
    argv=_python("workers.worker"),
    patience=Patience(boot_s=60, silence_s=20, stop_s=15),
    stop_signal=signal.SIGQUIT,
)
BEAT = RolePlan(name="beat", argv=_python("workers.beat"), patience=Patience(boot_s=60, silence_s=30, stop_s=10))
FLOWER = RolePlan(name="flower", argv=_python("workers.flower"), patience=Patience(boot_s=60, silence_s=30, stop_s=10))

# Commands go on first: the agent renews leases and presents what runs, the worker takes what waits.
START_ORDER = (REDIS, AGENT, WORKER, CONTROL, BEAT, FLOWER)


def node_roles(*, embedded: bool, env: dict[str, dict[str, str]] | None = None) -> tuple[RolePlan, ...]:
    """Return the roles of a node: with its own Redis or without, each with what `env` names for it."""
    wanted = START_ORDER if embedded else START_ORDER[1:]
    return tuple(plan.with_env(**(env or {}).get(plan.name, {})) for plan in wanted)


def unknown_role(name: str) -> RolePlan:
    """Return a plan for a role that is no longer wanted: good for stopping it, never for starting it."""
    return RolePlan(name=name, argv=())
