"""`infra why`: why a run waits, or where it went."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from infra_tasks.cli.command import command as make
from infra_tasks.cli.door import answering_ledger, open_fleet, open_home
from infra_tasks.cli.printing import print_json

if TYPE_CHECKING:
    from collections.abc import Sequence

    from infra_tasks.cli.manner import Manner
    from infra_tasks.cli.named_run import NamedRun
    from infra_tasks.cli.nodes_view import Own
    from infra_tasks.cli.why import Scene
    from infra_tasks.ledger import Ledger
    from infra_tasks.model.fleet import Fleet

EXAMPLES = """
infra why 3fa2c1
infra why 3fa2c1 --json
"""


@make("why", EXAMPLES)
@click.argument("run")
@click.pass_obj
def command(manner: Manner, /, run: str) -> None:
    """Say in one sentence why RUN waits, what it does, or how it ended; of one that left the history, where it is.

    --json has run, state, said (the sentence) and reasons: each with kind (a word for programs), said, and node where
    it is about one.
    """
    from infra_tasks.cli.named_run import named_run  # noqa: PLC0415
    from infra_tasks.cli.own_node import own_node  # noqa: PLC0415
    from infra_tasks.cli.why import archived, as_json, sentence, why  # noqa: PLC0415
    from infra_tasks.history.archive import Archive  # noqa: PLC0415

    home = open_home()
    fleet = open_fleet(home)
    with answering_ledger(home) as ledger:
        found, own = named_run(home, ledger, run), own_node(home, fleet)
        scene = _scene(ledger, found, fleet, own)
    reasons = why(scene)
    if found.archived:
        reasons = [*reasons, archived(own.name, Archive(home).place(found.run))]
    if manner.json:
        print_json(as_json(scene, reasons))
    else:
        click.echo(sentence(found.run, reasons))


def _scene(ledger: Ledger, found: NamedRun, fleet: Fleet, own: Own) -> Scene:
    from infra_tasks.cli.nodes_view import views  # noqa: PLC0415
    from infra_tasks.cli.why import Scene  # noqa: PLC0415
    from infra_tasks.cli.why_queued import MOST_NAMED, able_nodes  # noqa: PLC0415

    run = found.run
    nodes = {node.name: node for node in views(fleet, ledger.nodes.all(also=fleet.nodes), {}, own)}
    able = able_nodes(run.node, run.spec.labels, nodes) if run.state == "QUEUED" else []
    line = ledger.line_of(run) if run.state in {"PENDING", "QUEUED"} else None
    return Scene(
        run=run,
        events=found.events,
        now=ledger.nodes.now(),
        nodes=nodes,
        holders={node.name: _holders(ledger, node.name) for node in able[:MOST_NAMED]},
        safe_mode=ledger.nodes.safe_mode(),
        line=line,
        running=_labels(ledger, line.running) if line else (),
    )


def _holders(ledger: Ledger, node: str) -> list[str]:
    """Return what the runs in a node's slots are called."""
    return _labels(ledger, ledger.nodes.runs_on([node]))


def _labels(ledger: Ledger, run_ids: Sequence[str]) -> list[str]:
    from infra_tasks.cli.labels import labels  # noqa: PLC0415

    return labels([(run.id, run.name) for run in ledger.runs.get_many(run_ids)])
