"""Puts files of a node's folder in place of others, all or none: what is killed half way is undone by the next one.

Every move is written down before the first is made (`restoring.json`), with what stood there before. A watcher that
finds that file does not start the node.
"""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from infra_tasks.runner.attempt import sync_folder, write_json

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from infra_tasks.settings import Home


@dataclass(frozen=True)
class Moves:
    """`names`: what goes from the folder `staged` into the root; what stands there goes into `aside` first.

    `fresh`: those of the names that nothing stood at. All relative to the root.
    """

    names: tuple[str, ...]
    fresh: tuple[str, ...]
    staged: str
    aside: str


def put(home: Home, moves: Moves) -> None:
    """Make all moves. Raises OSError; what was moved by then is back where it was, after Ctrl-C as well."""
    write_json(os.fspath(home.root), home.restoring_json.name, asdict(moves), durable=True)
    try:
        for name in moves.names:
            if name not in moves.fresh:
                _move(home.root / name, home.root / moves.aside / name)
            _move(home.root / moves.staged / name, home.root / name)
    except BaseException:
        undo(home)
        raise
    _finish(home, moves)


def _finish(home: Home, moves: Moves) -> None:
    """Say that all moves are made, once they are on the disk: the node may start."""
    for folder in _folders(home.root, moves):
        sync_folder(os.fspath(folder))
    home.restoring_json.unlink(missing_ok=True)
    sync_folder(os.fspath(home.root))


def undo(home: Home) -> bool:
    """Undo moves that were begun and not finished; say whether there were any. Safe to repeat, however it ends."""
    if not home.restoring_json.exists():
        return False
    said = json.loads(home.restoring_json.read_bytes())
    moves = Moves(tuple(said["names"]), tuple(said["fresh"]), said["staged"], said["aside"])
    for name in moves.names:
        kept = home.root / moves.aside / name
        if name in moves.fresh:
            _remove(home.root / name)
            _remove_empty_parents(home.root, home.root / name)
        elif os.path.lexists(kept):
            _remove(home.root / name)
            kept.rename(home.root / name)
    _remove_empty(home.root / moves.aside)
    _finish(home, moves)
    return True


def _folders(root: Path, moves: Moves) -> list[Path]:
    """Return every folder in which names may have changed, those within others first."""
    places = [root / name for name in moves.names] + [root / moves.aside / name for name in moves.names]
    found = {parent for place in places for parent in place.parents if parent == root or root in parent.parents}
    return sorted((folder for folder in {root, *found} if folder.is_dir()), reverse=True)


def _move(path: Path, to: Path) -> None:
    to.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.rename(to)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _remove_empty_parents(root: Path, path: Path) -> None:
    for parent in path.parents:
        if parent == root or not parent.is_dir() or any(parent.iterdir()):
            return
        parent.rmdir()


def _remove_empty(folder: Path) -> None:
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()


def planned(home: Home, names: Sequence[str], *, staged: str, aside: str) -> Moves:
    """Return the moves for these names, as the folder is now."""
    fresh = tuple(name for name in names if not os.path.lexists(home.root / name))
    return Moves(tuple(names), fresh, staged, aside)
