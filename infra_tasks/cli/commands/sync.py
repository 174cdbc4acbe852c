"""`infra sync`: brings a project's code to nodes, or tells what would be brought."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from infra_tasks.cli.command import command as make
from infra_tasks.cli.door import open_home
from infra_tasks.cli.exit_codes import DONE, FAILED
from infra_tasks.cli.names import node_named, project_named
from infra_tasks.cli.printing import print_json
from infra_tasks.cli.terminal import note, styled
from infra_tasks.errors import BadInput, ReleaseError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from infra_tasks.cli.manner import Manner
    from infra_tasks.cli.sync_run import Synced
    from infra_tasks.node import ThisNode

EXAMPLES = """
infra sync hello
infra sync hello --node mac-2 --node mac-3
infra sync hello --dry-run
infra sync hello --dry-run --node mac-2
"""


@make("sync", EXAMPLES)
@click.argument("project")
@click.option("--node", "nodes", multiple=True, help="Only to this node; else to all of the fleet.")
@click.option("--dry-run", is_flag=True, help="Only tell what would go, what is left out and why.")
@click.pass_obj
def command(manner: Manner, /, project: str, *, nodes: tuple[str, ...], dry_run: bool) -> int:
    """Bring the code of PROJECT, as it is now, to the nodes; only files they lack are sent.

    Runs bring their code by themselves: this does it before. It works on the node that has the source. Exit code 1 when
    any node did not get it. With --dry-run a node that is named is asked what it lacks.
    """
    me = _me(project)
    for node in nodes:
        node_named(me.fleet, node)
    if dry_run:
        _tell_plan(manner, me, project, list(dict.fromkeys(nodes)))
        return DONE
    digest, synced = _sync(me, project, list(dict.fromkeys(nodes)) or list(me.fleet.nodes))
    if manner.json:
        print_json({"project": project, "release": digest, "nodes": [_as_json(each) for each in synced]})
    else:
        _print(project, digest, synced)
    return FAILED if any(each.error for each in synced) else DONE


def _me(project: str) -> ThisNode:
    """Return this node. Raises BadInput when the source is on another one."""
    from infra_tasks.node import this_node  # noqa: PLC0415  redis and pydantic

    me = this_node(open_home())
    there = project_named(me.fleet, project).node
    if there != me.name:
        raise BadInput(f"the source of {project} is on node {there}, and this is {me.name}: run `infra sync` there")
    return me


def _tell_plan(manner: Manner, me: ThisNode, project: str, nodes: Sequence[str]) -> None:
    from infra_tasks.cli.sync_plan import plan, print_plan  # noqa: PLC0415

    found = plan(me, project, nodes)
    print_json(found.as_json()) if manner.json else print_plan(found)


def _sync(me: ThisNode, project: str, nodes: Sequence[str]) -> tuple[str, list[Synced]]:
    from infra_tasks.cli.sync_progress import board  # noqa: PLC0415
    from infra_tasks.cli.sync_run import Synced, note_all, sync  # noqa: PLC0415  Fabric

    try:
        with board() as shown:
            digest, synced = sync(me, project, nodes, shown)
    except ReleaseError as error:
        note_all(me, project, "", [Synced(node, error=str(error)) for node in nodes])
        raise
    unsaid = note_all(me, project, digest, synced)
    if unsaid:
        note(f"this is not in the sync log (`infra syncs`): {unsaid}")
    return digest, synced


def _print(project: str, digest: str, synced: Sequence[Synced]) -> None:
    click.echo(f"{project} {digest[:12]}")
    column = max(len(each.node) for each in synced)
    for each in synced:
        name = styled(each.node.ljust(column), dim=True)
        first, *rest = _words(each).splitlines()
        click.echo(f"{name}  {first}")
        for line in rest:
            click.echo(f"{' ' * column}  {line}")


def _words(each: Synced) -> str:
    from infra_tasks.model.amounts import bytes_in_words, files_in_words  # noqa: PLC0415

    done = each.deployed
    if done is None:
        return f"{styled('FAILED', fg='red')}: {each.error}"
    if done.said == "busy":
        return "somebody builds or sets it up there right now; a run waits for that"
    if done.brought is None:
        return "held already"
    shared = f", {done.brought.shared_files:,} shared" if done.brought.shared_files else ""
    sent = f"{files_in_words(done.brought.files)}, {bytes_in_words(done.brought.size_bytes)}"
    return f"brought {sent} in {done.brought.duration_s:.1f} s{shared}"


def _as_json(each: Synced) -> dict[str, Any]:
    done = each.deployed
    brought = done.brought if done else None
    return {
        "node": each.node,
        "said": done.said if done else "failed",
        "files": brought.files if brought else 0,
        "size_bytes": brought.size_bytes if brought else 0,
        "shared_files": brought.shared_files if brought else 0,
        "duration_s": brought.duration_s if brought else None,
        "error": each.error,
    }
