"""`infra backup`: copies ledger and node into one file."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

import click

from infra_tasks.cli.command import command as make
from infra_tasks.cli.door import answering_ledger, open_home
from infra_tasks.cli.path_text import path_text
from infra_tasks.cli.printing import clock_time, print_facts, print_json, size
from infra_tasks.cli.progress_line import ProgressLine
from infra_tasks.cli.terminal import note
from infra_tasks.cli.who import who

if TYPE_CHECKING:
    from infra_tasks.backup.save import Made
    from infra_tasks.cli.manner import Manner

EXAMPLES = """
infra backup
infra backup /mnt/backups/
infra backup ~/fleet.tar.zst --json
"""


@make("backup", EXAMPLES)
@click.argument("file", type=click.Path(path_type=Path), required=False)
@click.pass_obj
def command(manner: Manner, /, file: Path | None) -> None:
    """Copy the ledger and what this node is into one file, while everything goes on.

    FILE is a name nothing has yet, or a folder (default: the current one; the name tells fleet, node and time). It
    holds secrets and passwords: only its owner can read it. It is read back before it gets its name.

    In it: the ledger as it was at one moment (where Redis is the node's own), nodes.json, who this node is, its
    secrets, passwords and host keys, the archive of its history, ends that were not reported yet. Not in it: code,
    output and scratch of runs. With a Redis of your own, whoever runs that must save it: see docs/backup.md.
    """
    from infra_tasks.backup import save  # noqa: PLC0415
    from infra_tasks.model.redactor import without_logins  # noqa: PLC0415
    from infra_tasks.node import this_node  # noqa: PLC0415

    home = open_home()
    me = this_node(home)
    own = save.holds_ledger(me)
    opened = answering_ledger(home) if own else nullcontext()
    with opened as ledger, ProgressLine() as progress:
        made = save.save(me, file, ledger, actor=who(), tell=progress.show)
    where = None if own else without_logins(me.fleet.broker)
    if manner.json:
        print_json(
            {"file": str(made.path), "size_bytes": made.size_bytes, "ledger_at": where, **made.manifest.as_dict()}
        )
        return
    _print(made)
    if where:
        note(
            f"the ledger is NOT in it: it is in the Redis at {where}, and whoever runs that must save it, before or at "
            "the same time (BGSAVE, then copy its dump.rdb); docs/backup.md says how it comes back"
        )


def _print(made: Made) -> None:
    manifest = made.manifest
    ledger = manifest.ledger
    runs = ", ".join(f"{count:,} {state}" for state, count in sorted(ledger.runs.items())) if ledger else None
    print_facts(
        [
            ("backup", f"{path_text(str(made.path))} ({size(made.size_bytes)})"),
            ("node", f"{manifest.node} of fleet {manifest.fleet}"),
            ("as of", clock_time(manifest.made_at)),
            ("ledger", (runs or "no runs yet") if ledger else "not in it"),
        ]
    )
    if ledger and ledger.safe_mode:
        note("the ledger was in safe mode: what the nodes had not told it yet is not in this backup")
