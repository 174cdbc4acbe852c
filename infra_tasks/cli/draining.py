"""Draining a node: asked for, then watched until it is empty; a line says what is waited for."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import click

from infra_tasks.cli import spans
from infra_tasks.cli.door import answering_ledger, open_fleet
from infra_tasks.cli.exit_codes import CANCELLED, DONE, FAILED
from infra_tasks.cli.names import check_node
from infra_tasks.cli.path_text import path_text
from infra_tasks.cli.printing import print_json
from infra_tasks.cli.progress_line import ProgressLine
from infra_tasks.cli.run_view import short
from infra_tasks.cli.terminal import note
from infra_tasks.cli.who import who
from infra_tasks.patience import Line, asked

if TYPE_CHECKING:
    from infra_tasks.cli.manner import Manner
    from infra_tasks.ledger import Ledger
    from infra_tasks.ledger.nodes import NodeSeen
    from infra_tasks.ledger.records import Run
    from infra_tasks.settings import Home

LOOK_EVERY_S = 0.3
# Runs told by name.
NAMED = 3


@dataclass(frozen=True)
class Drain:
    """What is wanted."""

    node: str
    deadline_s: float | None
    moves: bool
    why: str | None


class Seen(NamedTuple):
    """The node at one look. `running`: what is waited for; `waiting`: runs that only this node may take.

    `now`: wall seconds of Redis' clock.
    """

    node: NodeSeen
    running: list[Run]
    waiting: list[str]
    now: float

    @property
    def is_over(self) -> bool:
        """Nothing is left to be waited for: it is empty, or somebody has lifted the cordon."""
        return self.node.fields.get("drain") != "draining"


def drain(home: Home, wanted: Drain, manner: Manner) -> int:
    """Ask for it and watch it; return the exit code."""
    fleet = open_fleet(home)
    with answering_ledger(home) as ledger:
        check_node(fleet, ledger, wanted.node)
        ledger.nodes.drain(wanted.node, why=wanted.why, actor=who(), deadline_s=wanted.deadline_s, moves=wanted.moves)
    note(f"{wanted.node} takes nothing new any more; waiting until nothing runs there")
    try:
        seen = _watch(home, wanted.node)
    except KeyboardInterrupt:
        note(
            f"interrupted; the drain goes on: `infra nodes` tells how far, `infra node uncordon {wanted.node}` ends it"
        )
        return CANCELLED
    _tell(seen, manner)
    return DONE if seen.node.fields.get("drain") else FAILED


def _watch(home: Home, node: str) -> Seen:
    """Look until it is over, however long the fleet is away meanwhile."""
    with ProgressLine() as progress:

        def say(text: str) -> None:
            progress.clear()
            note(text)

        line = Line(home, say)
        try:
            while not (seen := asked(line, lambda ledger: _look(ledger, node))).is_over:
                progress.show(words(seen))
                time.sleep(LOOK_EVERY_S)
        finally:
            line.close()
    return seen


def _look(ledger: Ledger, node: str) -> Seen:
    running = ledger.runs.get_many(ledger.nodes.runs_on([node]))
    return Seen(ledger.nodes.one(node), running, ledger.nodes.waits_for(node), ledger.nodes.now())


def words(seen: Seen) -> str:
    """Return what is waited for, on one line."""
    runs = ", ".join(_going(run, seen.now) for run in seen.running[:NAMED])
    more = f" and {len(seen.running) - NAMED} more" if len(seen.running) > NAMED else ""
    what = f"{len(seen.running)} to end: {runs}{more}" if seen.running else "what waits there to be moved"
    mute = "" if seen.node.reachable else f" · {seen.node.name} has been silent for {spans.words(seen.node.silent_s)}"
    return f"{seen.node.name} · {what}{mute}{_deadline(seen)}"


def _going(run: Run, now: float) -> str:
    name = f" ({path_text(run.name)})" if run.name else ""
    for_s = now - (run.at("claimed_at") or now)
    return f"{short(run.id)}{name} {spans.words(for_s)} of {spans.words(run.timeout_s)}"


def _deadline(seen: Seen) -> str:
    until = seen.node.fields.get("drain_until_at")
    if not until:
        return ""
    left_s = float(until) - seen.now
    return f" · stopped in {spans.words(left_s)}" if left_s > 0 else " · being stopped"


def _tell(seen: Seen, manner: Manner) -> None:
    name, drained = seen.node.name, bool(seen.node.fields.get("drain"))
    if manner.json:
        print_json({"node": name, "drained": drained, "waiting": seen.waiting})
        return
    if not drained:
        click.echo(f"{name} is not drained: somebody has uncordoned it meanwhile")
        return
    click.echo(f"{name} is drained: nothing runs there, and nothing new will before `infra node uncordon {name}`")
    if seen.waiting:
        more = f" and {len(seen.waiting) - NAMED} more" if len(seen.waiting) > NAMED else ""
        click.echo(f"for {name} alone wait: {', '.join(map(short, seen.waiting[:NAMED]))}{more}")
