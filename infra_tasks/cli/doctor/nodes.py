"""The nodes as the ledger knows them: who speaks, who is cordoned, whose version differs; and the pulse of beat."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from infra_tasks.cli.cordon_words import cordon_words
from infra_tasks.cli.doctor.finding import bad, ok, warning
from infra_tasks.cli.doctor.machine import judge_clock, judge_version
from infra_tasks.cli.spans import words

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from infra_tasks.cli.doctor.finding import Finding
    from infra_tasks.ledger.nodes import NodeSeen

# Beat sends a tick every 30 s; one that is lost or late says nothing yet.
PULSE_WITHIN_S = 120.0
# An agent speaks every second; what it said of roles counts no longer than this.
HEARD_LATELY_S = 5.0
NOT_RUNNING = ("dead", "backoff")


class Clocks(NamedTuple):
    """Wall clocks: ours when Redis was asked for its own, its answer, and ours when it had come."""

    asked_at: float
    redis_at: float
    heard_at: float


def judge(name: str, seen: NodeSeen | None, ours: str) -> Iterator[Finding]:
    """Say what is to be thought of one node of nodes.json; `seen` is None if it never spoke."""
    if seen is None or not seen.fields.get("seen_at"):
        yield warning("agent", "this node was never up", f"on {name}: infra up --detach")
        return
    if not seen.reachable:
        yield bad("agent", f"silent for {words(seen.silent_s)}", f"on {name}: infra status, then infra up --detach")
    elif seen.cordoned:
        ends = "end what could not be killed there, then: " if seen.fields.get("survivors_why") else ""
        said = f"{cordon_words(seen.fields)}: nothing new runs there"
        yield warning("agent", said, f"{ends}infra node uncordon {name}")
    else:
        yield ok("agent", f"speaks; {seen.live} of {seen.fields.get('slots', '?')} slots in use")
    yield judge_version(seen.fields.get("version") or "?", ours)


def judge_roles(seen: NodeSeen) -> Iterator[Finding]:
    """Say which roles of a node elsewhere do not run, as its agent told a moment ago."""
    info = seen.info
    if seen.silent_s > HEARD_LATELY_S or "roles" not in info:
        return
    logs = f"{info.get('root', '')}/logs"
    if info.get("watcher") is False:
        yield bad(
            "watcher", "not running; nobody brings its roles back if they end", f"on {seen.name}: infra up --detach"
        )
    for role in info["roles"]:
        if role["state"] in NOT_RUNNING:
            said = f"{role['state']}, restarted {role['restarts']} times"
            yield bad(f"role {role['name']}", said, f"on {seen.name}: tail {logs}/{role['name']}.log")


def judge_strangers(known: Sequence[NodeSeen], names: Sequence[str]) -> Iterator[Finding]:
    """Say which nodes speak that nodes.json does not know."""
    for seen in known:
        if seen.name not in names and seen.reachable:
            said = f"{seen.name} speaks to this Redis, and is not in this nodes.json"
            yield warning("nodes", said, f"add {seen.name} to nodes.json here, or `infra down` there")


def judge_waiting(waits_for: Sequence[str] | None) -> Iterator[Finding]:
    """Say whether the ledger is in safe mode."""
    if waits_for is not None:
        said = f"Redis came back with other data; nothing starts until {', '.join(waits_for) or 'all'} said what runs"
        yield warning("safe mode", said, "start those nodes (infra up --detach); it ends by itself after lost_after_s")


def judge_pulse(pulse_at: float | None, clocks: Clocks, up_s: float) -> Iterator[Finding]:
    """Say whether ticks of beat go all the way; `up_s`: for so long this node has been up."""
    middle = (clocks.asked_at + clocks.heard_at) / 2
    yield judge_clock(middle - clocks.redis_at, (clocks.heard_at - clocks.asked_at) / 2, "that of Redis")
    late_s = clocks.heard_at - (pulse_at or 0.0)
    if late_s <= PULSE_WITHIN_S:
        yield ok("pulse", f"a tick of beat went through broker and control {words(late_s)} ago")
    elif up_s > PULSE_WITHIN_S:
        said = f"the last tick of beat arrived {words(late_s)} ago" if pulse_at else "no tick of beat ever arrived"
        yield warning("pulse", said, "infra status: beat, control and Redis must run on some node; see their logs")
