"""`infra restore`: puts a backup back."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from infra_tasks.cli import spans
from infra_tasks.cli.command import command as make
from infra_tasks.cli.door import open_home
from infra_tasks.cli.exit_codes import DONE, FAILED
from infra_tasks.cli.path_text import path_text
from infra_tasks.cli.printing import clock_time, print_facts, print_json
from infra_tasks.cli.progress_line import ProgressLine
from infra_tasks.cli.terminal import agreed, is_interactive, note

if TYPE_CHECKING:
    from infra_tasks.backup.restore import Restored
    from infra_tasks.cli.manner import Manner
    from infra_tasks.model.backup import Manifest

EXAMPLES = """
infra restore infra-home-mac-1-20261129-120000.tar.zst
INFRA_HOME=~/.infra infra restore ~/fleet.tar.zst --yes
"""


@make("restore", EXAMPLES)
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--yes", is_flag=True, help="Do not ask first.")
@click.pass_obj
def command(manner: Manner, /, file: Path, *, yes: bool) -> int:
    """Put the backup FILE into this node's folder (INFRA_HOME), while the node is down.

    The folder must be empty, or be that same node's. What is replaced - ledger, nodes.json, secrets, host keys - is
    kept aside, and where is said. What the node wrote of its runs stays: when it is up again, the ledger is in safe
    mode until every node has told what it holds, and takes in what happened after the backup.

    Runs that were accepted after the backup and not started anywhere are lost: hand them in again (one with an
    idempotency key is never run twice).
    """
    from infra_tasks.backup.restore import restoring  # noqa: PLC0415

    home = open_home()
    with ProgressLine() as progress, restoring(home, file.expanduser(), progress.show) as restoration:
        progress.clear()
        if is_interactive() and not yes and not _agreed(restoration.manifest, str(home.root)):
            click.echo("nothing was changed", err=True)
            return FAILED
        restored = restoration.put(time.time(), progress.show)
    if manner.json:
        aside = str(restored.aside) if restored.aside else None
        print_json({"root": str(home.root), "aside": aside, "notes": restored.notes, **restored.manifest.as_dict()})
        return DONE
    _print(restored, str(home.root))
    return DONE


def _agreed(manifest: Manifest, root: str) -> bool:
    age = spans.words(time.time() - manifest.made_at)
    what = "ledger and node" if manifest.ledger else "the node (no ledger is in it)"
    return agreed(f"Put {what} {manifest.node} in {root} back to {clock_time(manifest.made_at)} ({age} ago)?")


def _print(restored: Restored, root: str) -> None:
    manifest = restored.manifest
    ledger = manifest.ledger
    known = sum(ledger.runs.values()) if ledger else 0
    print_facts(
        [
            ("restored", f"node {manifest.node} of fleet {manifest.fleet} in {path_text(root)}"),
            ("as of", f"{clock_time(manifest.made_at)} ({spans.words(time.time() - manifest.made_at)} ago)"),
            ("ledger", f"{known:,} run{'' if known == 1 else 's'}" if ledger else "not in it: its Redis is elsewhere"),
            ("old state", path_text(str(restored.aside)) if restored.aside else None),
            (
                "next",
                "infra up --detach" + ("; the ledger begins in safe mode, which ends by itself" if ledger else ""),
            ),
        ]
    )
    for said in restored.notes:
        note(said)
