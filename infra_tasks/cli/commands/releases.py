"""`infra releases`: what code the nodes hold."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import click

from infra_tasks.cli.command import command as make
from infra_tasks.cli.door import answering_ledger, open_fleet, open_home
from infra_tasks.cli.names import check_name
from infra_tasks.cli.printing import ago, print_json, print_table

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from infra_tasks.cli.manner import Manner
    from infra_tasks.ledger.code import HeldRelease

HEADINGS = ("NODE", "PROJECT", "RELEASE", "FILES", "SIZE", "BUILT", "USED", "STATE")
SPARE = ("BUILT", "FILES", "SIZE", "USED")
EXAMPLES = """
infra releases
infra releases --node mac-2 --project hello
infra releases --json
"""


@make("releases", EXAMPLES)
@click.option("--node", help="Only those of this node.")
@click.option("--project", help="Only those of this project.")
@click.pass_obj
def command(manner: Manner, /, *, node: str | None, project: str | None) -> None:
    """List the releases the nodes hold, as each of them said last.

    STATE: `current` is the one that should be there, `in use` has something running in it, `MISSING` should be there
    and is not. A narrow terminal shows fewer columns; a pipe and --json have all.
    """
    fleet = open_fleet(open_home())
    with answering_ledger(open_home()) as ledger:
        held, expected, now = ledger.code.releases(), ledger.code.expected(), ledger.nodes.now()
    rows = sorted(_rows(held, expected), key=lambda row: (row.node, row.project, -(row.used_at or now)))
    check_name("node", node, sorted({*fleet.nodes, *held}))
    check_name("project", project, sorted({*fleet.projects, *(row.project for row in rows)}))
    wanted = [row for row in rows if node in {None, row.node} and project in {None, row.project}]
    if manner.json:
        print_json([asdict(row) for row in wanted])
    elif not wanted:
        click.echo("no release is known there; `infra sync PROJECT` brings one")
    else:
        _print(wanted, now)


@dataclass(frozen=True)
class Row:
    """A release on a node, or one that should be there (then it is not `held`, and nothing is known of it)."""

    node: str
    project: str
    release: str
    held: bool
    current: bool
    in_use: bool = False
    files: int | None = None
    size_bytes: int | None = None
    built_at: float | None = None
    used_at: float | None = None

    @property
    def state(self) -> str:
        """What is to be said of it, for people."""
        if not self.held:
            return "MISSING"
        return ", ".join(word for word, so in (("current", self.current), ("in use", self.in_use)) if so)


def _rows(held: Mapping[str, Sequence[HeldRelease]], expected: Mapping[tuple[str, str], str]) -> Iterator[Row]:
    missing = {(node, project, digest) for (project, node), digest in expected.items()}
    for node, releases in held.items():
        for one in releases:
            place = (node, one.project, one.digest)
            known: dict[str, Any] = {
                name: getattr(one, name) for name in ("in_use", "files", "size_bytes", "built_at", "used_at")
            }
            yield Row(*place, held=True, current=expected.get((one.project, node)) == one.digest, **known)
            missing.discard(place)
    for place in missing:
        yield Row(*place, held=False, current=True)


def _print(rows: Sequence[Row], now: float) -> None:
    from infra_tasks.model.amounts import bytes_in_words  # noqa: PLC0415

    shown = [
        (
            row.node,
            row.project,
            row.release[:12],
            "" if row.files is None else f"{row.files:,}",
            "" if row.size_bytes is None else bytes_in_words(row.size_bytes),
            ago(row.built_at, now),
            ago(row.used_at, now),
            row.state,
        )
        for row in rows
    ]
    print_table(HEADINGS, shown, flexible=1, spare=SPARE)
