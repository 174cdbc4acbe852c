"""Look at a tree on disk: one row per path, and a fingerprint that changes with any of them."""

from __future__ import annotations

import hashlib
import marshal
import os
import stat
from typing import TYPE_CHECKING, Any, NamedTuple

from infra_tasks.releases.reading import closing_fd, open_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence
    from pathlib import Path


class Row(NamedTuple):
    """What stat says of a path. For folders `inode` to `ctime_ns` are 0: they change with what comes and goes there."""

    path: str
    mode: int
    inode: int
    size: int
    mtime_ns: int
    ctime_ns: int


# A row before it gets its names: a check before each start makes ten thousand of them, and compares them as a whole.
Plain = tuple[str, int, int, int, int, int]


def look(tree: Path, skip: Collection[str] = ()) -> list[Row]:
    """Return rows of everything below `tree`, the tree itself as "", without the paths of `skip` and all below them."""
    return list(map(Row._make, glance(tree, skip)))


def glance(tree: Path, skip: Collection[str] = ()) -> list[Plain]:
    """Return what `look` does, as plain tuples."""
    rows: list[Plain] = [plain_top(tree)]
    with closing_fd(open_folder(tree)) as top:
        _look(top, "", frozenset(skip), rows.append)
    return rows


def _look(folder: int, prefix: str, skip: frozenset[str], add: Callable[[Plain], None]) -> None:
    # By open folders: the disk walks no path then, which makes this faster than a plain walk by paths.
    below = []
    is_folder = stat.S_ISDIR
    with os.scandir(folder) as found:
        for item in found:
            path = prefix + item.name
            if skip and path in skip:
                continue
            seen = item.stat(follow_symlinks=False)
            mode = seen.st_mode
            if is_folder(mode):
                add((path, mode, 0, 0, 0, 0))
                below.append(item.name)
            else:
                add((path, mode, seen.st_ino, seen.st_size, seen.st_mtime_ns, seen.st_ctime_ns))
    for name in below:
        with closing_fd(open_folder(name, folder)) as inner:
            _look(inner, f"{prefix}{name}/", skip, add)


def plain_top(tree: Path) -> Plain:
    """Return the row of the tree itself."""
    return "", os.lstat(tree).st_mode, 0, 0, 0, 0


def row(tree: Path, path: str) -> Row:
    """Return the row of one path."""
    seen = os.lstat(f"{os.fspath(tree)}/{path}")
    return Row(path, seen.st_mode, seen.st_ino, seen.st_size, seen.st_mtime_ns, seen.st_ctime_ns)


def row_of(path: str, seen: os.stat_result) -> Row:
    """Return the row a stat makes."""
    return Row(path, seen.st_mode, seen.st_ino, seen.st_size, seen.st_mtime_ns, seen.st_ctime_ns)


def fingerprint(rows: Sequence[Plain]) -> bytes:
    """Return 32 bytes over all rows, in the order of the disk: another order is another look, never a wrong 'same'."""
    # Version 2 of marshal writes the same bytes for the same values; later ones look at reference counts.
    plain: Any = rows if type(rows[0]) is tuple else list(map(tuple, rows))
    return hashlib.sha256(marshal.dumps(plain, 2)).digest()
