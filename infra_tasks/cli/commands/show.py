"""`infra show`: all about one run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from infra_tasks.cli import outputs_view, run_view, spans
from infra_tasks.cli.command import command as make
from infra_tasks.cli.door import answering_ledger, open_home
from infra_tasks.cli.printing import clock_time, heading, print_facts, print_json, print_table, size

if TYPE_CHECKING:
    from collections.abc import Sequence

    from infra_tasks.cli.manner import Manner
    from infra_tasks.ledger.records import Event, Run

TAIL_LINES = 10
EXAMPLES = """
infra show 3fa2c1
infra show 3fa2c1 --json
"""


@make("show", EXAMPLES)
@click.argument("run")
@click.pass_obj
def command(manner: Manner, /, run: str) -> None:
    """Tell all about RUN: what it is, how far it is, its story, its last lines.

    --json has the keys of a result (null where nothing is known yet), and `events`.
    """
    from infra_tasks.errors import UnknownRun  # noqa: PLC0415

    home = open_home()
    with answering_ledger(home) as ledger:
        found = ledger.runs.get(ledger.runs.known(run))
        if found is None:
            raise UnknownRun(f"run {run!r} was just removed from the history")
        events = ledger.runs.events(found.id)
        silent = run_view.silent_nodes(ledger.nodes.all())
    said = run_view.as_json(found, silent, events)
    said["outputs"] = outputs_view.as_of_now(home, found.id, found.attempt, said["outputs"])
    if manner.json:
        print_json(said)
    else:
        _print(found, said, events)


def _print(run: Run, said: dict[str, Any], events: Sequence[Event]) -> None:
    print_facts(_facts(run, said))
    _print_story(events)
    for stream in ("stdout", "stderr"):
        lines = (said[f"{stream}_tail"] or "").rstrip().splitlines()[-TAIL_LINES:]
        if lines:
            heading(f"Last lines of {stream}")
            for line in lines:
                click.echo(line)


def _facts(run: Run, said: dict[str, Any]) -> list[tuple[str, str | None]]:
    ended = run_view.ending_words(said, said["cause"]) if run.final else None
    return [
        ("run", run.id),
        ("name", said["name"]),
        ("state", said["state"]),
        ("ended by", ended if said["state"] == "FAILURE" else None),
        ("asked", "to stop" if said["cancel_asked"] else None),
        ("command", run_view.command_text(run)),
        ("project", said["project"]),
        ("release", said["release"]),
        ("note", run.fields.get("warning")),
        ("node", said["node"]),
        ("queue", None if said["node"] else said["queue"]),
        ("attempt", str(said["attempt"]) if said["attempt"] else None),
        ("retry of", said["retry_of"]),
        ("limit", spans.words(said["timeout_s"])),
        ("submitted", clock_time(said["submitted_at"])),
        ("started", clock_time(said["started_at"])),
        ("ended", clock_time(said["ended_at"])),
        ("took", spans.words(said["duration_s"]) if said["duration_s"] is not None else None),
        ("memory", size(said["max_rss_bytes"])),
        ("CPU", spans.words(said["cpu_s"]) if said["cpu_s"] is not None else None),
        ("survivors", f"{said['survivors']} processes could not be killed" if said["survivors"] else None),
        *outputs_view.facts(said["outputs"]),
    ]


def _print_story(events: Sequence[Event]) -> None:
    if not events:
        return
    heading("Story")
    first = events[0].at
    rows = [(f"+{spans.words(each.at - first)}", each.to_state, each.actor, each.cause) for each in events]
    print_table(("WHEN", "STATE", "BY", "WHY"), rows, flexible=3, wrap=True)
