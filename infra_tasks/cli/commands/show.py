"""`infra show`: all about one run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from infra_tasks.cli import outputs_view, run_view, spans
from infra_tasks.cli.bars import LIMIT, SIGNS, picture
from infra_tasks.cli.command import command as make
from infra_tasks.cli.door import answering_ledger, open_home
from infra_tasks.cli.lines import plain
from infra_tasks.cli.named_run import named_run
from infra_tasks.cli.phases import phases
from infra_tasks.cli.printing import BETWEEN, clock_time, heading, print_facts, print_json, print_table, size
from infra_tasks.cli.terminal import colour, note, picture_width, shows, styled

if TYPE_CHECKING:
    from collections.abc import Sequence

    from infra_tasks.cli.manner import Manner
    from infra_tasks.cli.phases import Phase
    from infra_tasks.ledger.records import Event, Run
    from infra_tasks.settings import Home

TAIL_LINES = 10
STYLES: dict[str, dict[str, Any]] = {
    "waiting": {"dim": True},
    "sync": {"fg": "blue"},
    "queue": {"fg": "yellow"},
    "run": {"fg": "cyan"},
    "kill": {"fg": "red"},
    "pause": {"dim": True},
    "scale": {"dim": True},
}
EXAMPLES = """
infra show 3fa2c1
infra show 3fa2c1 --json
"""


@make("show", EXAMPLES)
@click.argument("run")
@click.pass_obj
def command(manner: Manner, /, run: str) -> None:
    """Tell all about RUN: what it is, how far it is, where its time went, its story, its last lines.

    A run that has left the history is looked for in the archive of this node.

    --json has the keys of a result (null where nothing is known yet), `events`, and `phases`: waiting, sync, queue,
    run, kill, pause, each with its attempt, began_at, ended_at (null: it goes on) and, of a run, the limit_s it had.
    """
    home = open_home()
    found, events, silent, now = _looked_up(home, run)
    life = phases(events, now=now, timeout_s=found.timeout_s, reason=found.reason)
    said = run_view.as_json(found, silent, events)
    if said["outputs"] and not said["outputs"]["brought"]:
        from infra_tasks.outputs.shelf import as_of_now  # noqa: PLC0415  seldom needed

        said["outputs"] = as_of_now(home, found.id, found.attempt, said["outputs"])
    if manner.json:
        print_json({**said, "phases": [phase.as_dict() for phase in life]})
    else:
        print_facts(_facts(found, said))
        _print_time_line(life, now)
        _print_story(events)
        _print_tails(said)


def _looked_up(home: Home, run: str) -> tuple[Run, Sequence[Event], dict[str, float], float]:
    """Return the run with its story, the nodes that are silent and what time it is. Raises UnknownRun."""
    with answering_ledger(home) as ledger:
        silent, now = run_view.silent_nodes(ledger.nodes.all()), ledger.nodes.now()
        found = named_run(home, ledger, run)
    if found.archived:
        note(f"run {run_view.short(found.run.id)} has left the history; this is what the archive of this node has")
    return found.run, found.events, silent, now


def _print_time_line(life: Sequence[Phase], now: float) -> None:
    heading("Time line")
    for row in picture(life, now=now, width=picture_width(), ascii_only=not shows("".join(SIGNS.values()) + LIMIT)):
        bar = styled(row.bar, **STYLES[row.kind])
        line = f"{row.label}{BETWEEN}{row.before}{bar}{row.behind}{BETWEEN}{row.words}"
        click.echo(line.rstrip(), color=colour())


def _print_tails(said: dict[str, Any]) -> None:
    for stream in ("stdout", "stderr"):
        lines = (said[f"{stream}_tail"] or "").rstrip().split("\n")[-TAIL_LINES:]
        if any(lines):
            heading(f"Last lines of {stream}")
            for line in lines:
                click.echo(plain(line))


def _facts(run: Run, said: dict[str, Any]) -> list[tuple[str, str | None]]:
    ended = run_view.ending_words(said, said["cause"]) if run.final else None
    return [
        ("run", run.id),
        ("name", said["name"]),
        ("state", said["state"]),
        ("silent", f"{said['node']}, since {clock_time(since)}" if (since := said["unreachable_since"]) else None),
        ("ended by", ended if said["state"] == "FAILURE" else None),
        ("asked", "to stop" if said["cancel_asked"] else None),
        ("schedule", _slot(run)),
        ("command", run_view.command_text(run)),
        ("project", said["project"]),
        ("release", said["release"]),
        ("note", run.fields.get("warning")),
        ("node", said["node"]),
        ("queue", None if said["node"] else said["queue"]),
        ("attempt", str(said["attempt"]) if said["attempt"] else None),
        ("retry of", said["retry_of"]),
        ("limit", spans.words(said["timeout_s"])),
        ("may hold", size(run.spec.memory_bytes)),
        ("submitted", clock_time(said["submitted_at"])),
        ("started", clock_time(said["started_at"])),
        ("ended", clock_time(said["ended_at"])),
        ("took", spans.words(said["duration_s"]) if said["duration_s"] is not None else None),
        ("memory", size(said["max_rss_bytes"])),
        ("CPU", spans.words(said["cpu_s"]) if said["cpu_s"] is not None else None),
        ("survivors", f"{said['survivors']} processes could not be killed" if said["survivors"] else None),
        *outputs_view.facts(said["outputs"]),
    ]


def _slot(run: Run) -> str | None:
    return f"{run.schedule}, {f'slot {run.slot}' if run.slot else 'by hand'}" if run.schedule else None


def _print_story(events: Sequence[Event]) -> None:
    if not events:
        return
    heading("Story")
    first = events[0].at
    rows = [(f"+{spans.words(each.at - first)}", each.to_state, each.actor, each.cause) for each in events]
    print_table(("WHEN", "STATE", "BY", "WHY"), rows, flexible=3, wrap=True)
