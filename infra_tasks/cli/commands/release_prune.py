"""`infra release prune`: removes releases nobody needs."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING

import click

from infra_tasks.cli.command import command as make
from infra_tasks.cli.door import answering_ledger, open_home
from infra_tasks.cli.exit_codes import DONE, FAILED
from infra_tasks.cli.names import check_name, node_named
from infra_tasks.cli.printing import print_json
from infra_tasks.cli.terminal import styled
from infra_tasks.errors import ReleaseError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from infra_tasks.cli.manner import Manner
    from infra_tasks.node import ThisNode

ANSWER_S = 600.0
EXAMPLES = """
infra release prune --dry-run
infra release prune --project hello --keep 2
infra release prune --node mac-2 --node mac-3
"""


@make("prune", EXAMPLES)
@click.option("--project", help="Only releases of this project; else of all.")
@click.option("--keep", type=click.IntRange(0, 1000), help="Keep the newest so many (default: keep_releases).")
@click.option("--node", "nodes", multiple=True, help="On this node; else on the one this is.")
@click.option("--dry-run", is_flag=True, help="Only tell what would be removed.")
@click.pass_obj
def command(manner: Manner, /, *, project: str | None, keep: int | None, nodes: tuple[str, ...], dry_run: bool) -> int:
    """Remove all but the releases used last, of each project.

    Kept in any case: what something runs in, what runs still need, what should be on the node, and what was used in the
    last quarter of an hour.
    """
    from infra_tasks.node import this_node  # noqa: PLC0415  redis and pydantic

    me = this_node(open_home())
    for node in nodes:
        node_named(me.fleet, node)
    with answering_ledger(me.home) as ledger:
        needed = ledger.code.wanted()
        needed |= {(of, digest) for (of, _), digest in ledger.code.expected().items()}
        held = [one.project for releases in ledger.code.releases().values() for one in releases]
    check_name("project", project, sorted({*me.fleet.projects, *held}))
    order = Order(project, me.fleet.limits.keep_releases if keep is None else keep, needed, dry_run)
    pruned = [order.carried_out(me, node) for node in dict.fromkeys(nodes or (me.name,))]
    if manner.json:
        print_json([asdict(each) for each in pruned])
    else:
        _print(pruned, dry_run=dry_run)
    return FAILED if any(each.error for each in pruned) else DONE


@dataclass(frozen=True)
class Pruned:
    """What was removed from a node, by project, or why nothing was."""

    node: str
    removed: dict[str, list[str]] = field(default_factory=dict)
    error: str | None = None


@dataclass(frozen=True)
class Order:
    """What is to be removed everywhere."""

    project: str | None
    keep: int
    needed: set[tuple[str, str]]
    dry_run: bool

    def carried_out(self, me: ThisNode, node: str) -> Pruned:
        """Prune one node, here or over ssh."""
        try:
            return Pruned(node, self._here(me) if node == me.name else self._there(me, node))
        except ReleaseError as error:
            return Pruned(node, error=str(error))

    def _here(self, me: ThisNode) -> dict[str, list[str]]:
        from infra_tasks.code_check import UNUSED_FOR_S  # noqa: PLC0415
        from infra_tasks.releases.prune import prune_node  # noqa: PLC0415

        return prune_node(
            me.home, self.project, self.keep, needed=self.needed, unused_for_s=UNUSED_FOR_S, dry_run=self.dry_run
        )

    def _there(self, me: ThisNode, node: str) -> dict[str, list[str]]:
        from infra_tasks.code_check import UNUSED_FOR_S  # noqa: PLC0415
        from infra_tasks.releases.remote.lines import lines_of  # noqa: PLC0415
        from infra_tasks.releases.remote.peer import peer_of  # noqa: PLC0415

        with lines_of(me.home).to(peer_of(me.fleet, node)) as line:
            done = line.ask(
                "prune",
                within_s=ANSWER_S,
                project=self.project,
                keep=self.keep,
                needed=sorted(self.needed),
                unused_for_s=UNUSED_FOR_S,
                dry_run=self.dry_run,
            )
        return dict(done["gone"])


def _print(pruned: Sequence[Pruned], *, dry_run: bool) -> None:
    verb = "would remove" if dry_run else "removed"
    for each in pruned:
        if each.error:
            click.echo(f"{each.node}: {styled('FAILED', fg='red')}: {each.error}")
        elif not each.removed:
            click.echo(f"{each.node}: nothing to remove")
        for project, digests in each.removed.items():
            count = f"{len(digests)} release{'' if len(digests) == 1 else 's'}"
            click.echo(f"{each.node}: {verb} {count} of {project}: {', '.join(one[:12] for one in digests)}")
