"""Runs that have left the history, as this node's archive has them: listed, or found by the beginning of an id."""

from __future__ import annotations

import time
from itertools import islice
from typing import TYPE_CHECKING

import click

from infra_tasks.cli import run_view
from infra_tasks.cli.exit_codes import DONE
from infra_tasks.cli.printing import print_json, print_table
from infra_tasks.cli.progress_line import ProgressLine
from infra_tasks.cli.terminal import note
from infra_tasks.errors import UnknownRun
from infra_tasks.history.archive import Archive

if TYPE_CHECKING:
    from collections.abc import Iterator

    from infra_tasks.cli.wanted import Wanted
    from infra_tasks.ledger.history import Past
    from infra_tasks.settings import Home


def list_archived(home: Home, wanted: Wanted, since_s: float | None, limit: int, *, json: bool) -> int:
    """Print the archived runs that fit; return the exit code."""
    now, archive = time.time(), Archive(home, note)
    lines, files = archive.count()
    since = now - since_s if since_s else 0.0
    with ProgressLine() as progress:
        fitting = (past for past in _looked_at(archive, since, lines, progress) if wanted.fits(past.run, {}))
        runs = [past.run for past in islice(fitting, limit)]
    note(f"the archive of this node: {lines:,} runs in {files} {'file' if files == 1 else 'files'} of {home.archive}")
    if json:
        print_json([run_view.as_json(run, {}) for run in runs])
    elif runs:
        print_table(run_view.HEADINGS, [run_view.row(run, {}, now) for run in runs], flexible=5)
    else:
        click.echo("no archived run fits that" if lines else "nothing has left the history for this node's archive yet")
    return DONE


def archived_run(home: Home, beginning: str) -> Past | None:
    """Return the archived run whose id begins so, or None. Raises UnknownRun when several do."""
    found = Archive(home, note).beginning_with(beginning) if beginning.strip() else []
    exact = [past for past in found if past.run.id == beginning]
    if len(found) > 1 and not exact:
        ids = ", ".join(past.run.id for past in found)
        raise UnknownRun(f"several archived runs begin with {beginning!r}: {ids}; give more of the id", several=True)
    return next(iter(exact or found), None)


def _looked_at(archive: Archive, since: float, lines: int, progress: ProgressLine) -> Iterator[Past]:
    for count, past in enumerate(archive.newest(since), 1):
        progress.show(f"{count:,} of {lines:,} archived runs looked at")
        yield past
