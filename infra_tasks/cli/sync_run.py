"""Brings a project's code to several nodes at once: one release for all of them, whatever is edited meanwhile."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from functools import partial
from queue import SimpleQueue
from threading import BoundedSemaphore, Thread
from typing import TYPE_CHECKING

from infra_tasks.deploy import deploy_task_to_node
from infra_tasks.errors import FleetUnreachable, InfraError
from infra_tasks.ledger import open_ledger
from infra_tasks.ledger.code import SyncEntry
from infra_tasks.model.weight import heavy_words
from infra_tasks.releases.remote.giving_up import end_transfers
from infra_tasks.releases.remote.lines import lines_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from infra_tasks.cli.sync_progress import Board
    from infra_tasks.deploy import Deployed
    from infra_tasks.model.weight import Weight
    from infra_tasks.node import ThisNode

# More transfers at once than this only slow each other down.
AT_ONCE = 8


@dataclass(frozen=True)
class Synced:
    """How it went with one node: what was done there, or the error."""

    node: str
    deployed: Deployed | None = None
    error: str | None = None


def sync(me: ThisNode, project: str, nodes: Sequence[str], board: Board) -> tuple[str, list[Synced]]:
    """Have the project's code, as it is now, on all the nodes; return the digest and how it went, in their order.

    This node gets it first: the others are sent an immutable copy. Raises ReleaseError when that cannot be made.
    """

    def weighed(node: str, weight: Weight) -> None:
        if words := heavy_words(weight, project, node):
            board.say(words)

    with closing(lines_of(me.home)) as lines:
        here = deploy_task_to_node(
            me, lines, project, me.name, weighed=partial(weighed, me.name) if me.name in nodes else None
        )

        def bring(node: str) -> Synced:
            if node == me.name:
                return Synced(node, here)
            try:
                deployed = deploy_task_to_node(
                    me,
                    lines,
                    project,
                    node,
                    digest=here.digest,
                    progress=lambda said: board.show(node, said),
                    weighed=partial(weighed, node),
                )
            except (InfraError, OSError) as error:
                return Synced(node, error=str(error))
            finally:
                board.done(node)
            return Synced(node, deployed)

        return here.digest, _side_by_side(bring, nodes)


def _side_by_side(bring: Callable[[str], Synced], nodes: Sequence[str]) -> list[Synced]:
    """Bring to all, a few at once. Who interrupts is not kept waiting: transfers end, their threads are left behind."""
    room, results = BoundedSemaphore(AT_ONCE), SimpleQueue[Synced | BaseException]()

    def one(node: str) -> None:
        with room:
            try:
                results.put(bring(node))
            except BaseException as error:  # noqa: BLE001  raised again where somebody waits for it
                results.put(error)

    for node in nodes:
        Thread(target=one, args=(node,), daemon=True).start()
    try:
        done = [results.get() for _ in nodes]
    except BaseException:
        end_transfers()
        raise
    for each in done:
        if isinstance(each, BaseException):
            raise each
    synced = [each for each in done if isinstance(each, Synced)]
    return sorted(synced, key=lambda each: list(nodes).index(each.node))


def note_all(me: ThisNode, project: str, digest: str, synced: Sequence[Synced]) -> str | None:
    """Put it into the sync log, and what should be where from now on, and have what was brought checked.

    Returns why that could not be done, or None.
    """
    from infra_tasks.tasks import ask_check_at_once  # noqa: PLC0415  Celery

    try:
        with closing(open_ledger(me.home)) as ledger:
            ledger.answers()
            for each in synced:
                ledger.code.note_sync(_entry(me, project, digest, each))
                if each.deployed:
                    ledger.code.expect(project, each.node, digest)
                if each.deployed and each.deployed.brought:
                    ask_check_at_once(each.node, project, digest)
    except FleetUnreachable as error:
        return str(error)
    return None


def _entry(me: ThisNode, project: str, digest: str, each: Synced) -> SyncEntry:
    brought = each.deployed.brought if each.deployed else None
    return SyncEntry(
        project=project,
        release=digest,
        node=each.node,
        why="sync",
        said="failed" if each.error else "brought" if brought else "held",
        source=me.name if brought or each.error else "",
        files=brought.files if brought else 0,
        size_bytes=brought.size_bytes if brought else 0,
        shared_files=brought.shared_files if brought else 0,
        duration_s=brought.duration_s if brought else 0.0,
        error=each.error,
    )
