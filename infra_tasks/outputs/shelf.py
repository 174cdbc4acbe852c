"""The outputs of a run in their place at home: `runs/<run>/outputs`, and beside it `outputs.json`, which lists them.

They are those of the last attempt that brought some. A folder gets its name only when it is whole; what was there
before goes then.
"""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from infra_tasks.releases.locks import held
from infra_tasks.runner.attempt import read_json, sync_folder, write_json

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from infra_tasks.settings import Home

NAME = "outputs"
LIST = "outputs.json"


def folder_of(home: Home, run_id: str) -> Path:
    """Return where the outputs of a run are, once they are here."""
    return home.runs / run_id / NAME


def there(home: Home, run_id: str) -> dict[str, Any] | None:
    """Return the list of the outputs that are here: {node, attempt, files, missing, left_out, error}."""
    return read_json(os.fspath(home.runs / run_id / LIST))


def is_there(home: Home, run_id: str, attempt: int, node: str) -> bool:
    """Say whether the outputs of this attempt on that node, or of a later one, are here.

    A ledger that lost writes may give the number of an attempt once more, to another node.
    """
    known = there(home, run_id) or {}
    number = int(known.get("attempt", 0))
    return number > attempt or (number == attempt and known["node"] == node)


def as_of_now(home: Home, run_id: str, attempt: int, outputs: dict[str, Any] | None) -> dict[str, Any] | None:
    """Return what a result says of its outputs; those that came here after the end of the run have been brought."""
    if not outputs or outputs["brought"] or not is_there(home, run_id, attempt, outputs["node"]):
        return outputs
    listed = there(home, run_id) or {}
    folder = str(folder_of(home, run_id))
    return {**outputs, "brought": True, "folder": folder, "error": listed.get("error")}


def place(home: Home, run_id: str, staged: Path, listed: Mapping[str, Any]) -> Path:
    """Give a whole folder of outputs its place, unless a later attempt has it; return the place. Safe to repeat.

    Once `staged` has moved it is gone: then only the list may be missing still.
    """
    run = home.runs / run_id
    run.mkdir(parents=True, exist_ok=True)
    with held(run / f".{NAME}.lock"):
        if not is_there(home, run_id, int(listed["attempt"]), str(listed["node"])):
            if staged.exists():
                _replace(run, staged)
            write_json(os.fspath(run), LIST, dict(listed), durable=True)
    return run / NAME


def _replace(run: Path, staged: Path) -> None:
    place, old = run / NAME, run / f".{NAME}.old"
    shutil.rmtree(old, ignore_errors=True)
    (run / LIST).unlink(missing_ok=True)  # from here on it lists what is not there any more
    with suppress(FileNotFoundError):
        place.rename(old)
    staged.rename(place)
    sync_folder(os.fspath(run))
    shutil.rmtree(old, ignore_errors=True)
