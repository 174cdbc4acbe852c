"""`infra audit`: accounts for every run that was ever submitted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from infra_tasks.cli import spans
from infra_tasks.cli.command import command as make
from infra_tasks.cli.door import answering_ledger, open_home
from infra_tasks.cli.exit_codes import DONE, FAILED
from infra_tasks.cli.path_text import path_text
from infra_tasks.cli.printing import heading, print_facts, print_json, print_table
from infra_tasks.cli.progress_line import ProgressLine
from infra_tasks.cli.terminal import note

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from infra_tasks.audit.look import Audit
    from infra_tasks.cli.manner import Manner
    from infra_tasks.ledger import Ledger
    from infra_tasks.ledger.records import Event
    from infra_tasks.model.audit import Finding
    from infra_tasks.settings import Home

TOLD = 100
STORY_LINES = 5
EXAMPLES = """
infra audit
infra audit --repair
infra audit --json
"""

Stories = dict[str, list["Event"]]
Repairs = dict["Finding", str | None]


@make("audit", EXAMPLES)
@click.option("--repair", "repairing", is_flag=True, help="Do what is safe about what is found.")
@click.pass_obj
def command(manner: Manner, /, *, repairing: bool) -> int:
    """Account for every run: submitted = final + running + waiting + archived + forgotten.

    Holds the ledger against Celery's results, the broker's queues, and the folders and processes of this node; what
    is found is looked at twice, so that a run on the move is none. Ask on every node for its folders and processes.

    --repair never writes a state, an end or a claim: it puts runs back where their state says they belong, pushes
    hints, writes Celery's result again from the record, hands kept exit records to the agent, and ends processes of
    runs that have ended.

    Exit code 0: nothing is off. 1: something is (also when it was repaired; ask again).
    """
    from infra_tasks.audit.look import Auditor  # noqa: PLC0415
    from infra_tasks.node import this_node  # noqa: PLC0415

    home = open_home()
    with answering_ledger(home) as ledger, ProgressLine() as progress:
        audit = Auditor(
            ledger, this_node(home), lambda what, n, of: progress.show(f"looking at {what}: {n:,} of {of:,}")
        ).run()
        progress.clear()
        repairs = _repaired(home, ledger, audit.findings) if repairing else {}
        told = audit.findings if manner.json else audit.findings[:TOLD]
        stories = {found.run: ledger.runs.events(found.run) for found in told if found.run}
    if manner.json:
        print_json(_as_json(audit, stories, repairs, repairing=repairing))
    else:
        _print(audit, stories, repairs, repairing=repairing)
    return DONE if audit.clean else FAILED


def _repaired(home: Home, ledger: Ledger, findings: Sequence[Finding]) -> Repairs:
    from infra_tasks.audit.repair import repair  # noqa: PLC0415

    return {found: repair(home, ledger, found) for found in findings}


def _as_json(audit: Audit, stories: Stories, repairs: Repairs, *, repairing: bool) -> dict[str, Any]:
    return {
        "ok": audit.clean,
        "sums": audit.sums.as_dict(),
        "looked_at": audit.looked,
        "safe_mode": audit.safe,
        "findings": [
            {
                **found.as_dict(),
                "repaired": repairs.get(found) if repairing else None,
                "story": [event.as_dict() for event in stories.get(found.run or "", [])],
            }
            for found in audit.findings
        ],
        "more": audit.more,
    }


def _print(audit: Audit, stories: Stories, repairs: Repairs, *, repairing: bool) -> None:
    sums = audit.sums.as_dict()
    print_facts([(name, f"{count:,}") for name, count in sums.items()])
    if audit.safe is not None:
        note(
            f"the ledger is in safe mode and waits for {', '.join(audit.safe) or 'a moment'}: ask again when it is over"
        )
    if not audit.findings:
        click.echo(f"\nall {audit.looked:,} runs of the ledger are where they belong, and this node agrees")
        return
    for found in audit.findings[:TOLD]:
        heading(f"{found.check}  {path_text(found.run)}" if found.run else found.check)
        print_facts(_facts(found, repairs, repairing=repairing))
        _print_story(stories.get(found.run or "", []))
    beyond = len(audit.findings) - TOLD + audit.more
    click.echo(
        f"\n{len(audit.findings) + audit.more:,} found" + (f", {beyond:,} of them not shown" if beyond > 0 else "")
    )


def _facts(found: Finding, repairs: Mapping[Finding, str | None], *, repairing: bool) -> list[tuple[str, str | None]]:
    remedy = found.remedy.value if found.remedy else "nothing that is safe"
    facts: list[tuple[str, str | None]] = [("found", path_text(found.found)), ("expected", path_text(found.expected))]
    if repairing:
        return [*facts, ("repaired", repairs.get(found) or "no: nothing is safe to do from here")]
    return [*facts, ("--repair", remedy)]


def _print_story(events: Sequence[Event]) -> None:
    if not events:
        return
    first = events[0].at
    rows = [
        (f"+{spans.words(each.at - first)}", each.to_state, path_text(each.actor), path_text(each.cause))
        for each in events[-STORY_LINES:]
    ]
    print_table(("WHEN", "STATE", "BY", "WHY"), rows, flexible=3, wrap=True)
