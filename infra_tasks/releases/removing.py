"""Delete a tree without making the releases that share its inodes look touched."""
# No Path objects here: this is called for each of ten thousand files.
# ruff: noqa: PTH101, PTH106, PTH108, PTH112, PTH114

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress
from typing import TYPE_CHECKING

from infra_tasks.releases import known
from infra_tasks.releases.layout import OPEN_FOLDER
from infra_tasks.releases.walk import row_of

if TYPE_CHECKING:
    from pathlib import Path

    from infra_tasks.releases.layout import Shelf

# An rsync whose builder was killed goes on for a while: what it wrote meanwhile is looked for again, folder by folder.
LOOKS = 1000
_NOT_EMPTY = {errno.ENOTEMPTY, errno.EEXIST}


def remove_tree(shelf: Shelf, tree: Path) -> None:
    """Delete a tree that nobody uses, if it is there."""
    if not os.path.lexists(tree):
        return
    if os.path.islink(tree) or not os.path.isdir(tree):
        os.unlink(tree)
        return
    facts = known.load(shelf)
    news: known.Facts = {}
    gone: set[int] = set()
    newest = _remove(os.fspath(tree), facts, news, gone)
    if news:
        known.tick_over(shelf.releases, newest)
    if news or gone:
        known.note(shelf, news, gone - news.keys())


def _remove(folder: str, facts: known.Facts, news: known.Facts, gone: set[int]) -> int:
    newest = 0
    os.chmod(folder, OPEN_FOLDER)
    for looks_left in reversed(range(LOOKS)):
        with os.scandir(folder) as found:
            items = list(found)
        for item in items:
            with suppress(FileNotFoundError):  # it got another name since
                remove = _remove if item.is_dir(follow_symlinks=False) else _unlink
                newest = max(newest, remove(item.path, facts, news, gone))
        try:
            os.rmdir(folder)
            break
        except OSError as error:
            if error.errno not in _NOT_EMPTY or not looks_left:
                raise
    return newest


def _unlink(path: str, facts: known.Facts, news: known.Facts, gone: set[int]) -> int:
    """Remove one name. If the inode lives on and was as known right before, its state right after is known as well."""
    before = row_of(path, os.lstat(path))
    at_last = facts.get(before.inode)
    lives_on = stat.S_ISREG(before.mode) and at_last is not None
    fd = -1
    with suppress(PermissionError):
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC) if lives_on else -1
    try:
        os.unlink(path)
        if fd < 0 or at_last is None:
            return 0
        left = os.fstat(fd)
    finally:
        if fd >= 0:
            os.close(fd)
    if left.st_nlink == 0:
        gone.add(before.inode)
        return 0
    after = row_of(path, left)
    if known.holds(facts, before, at_last[3]) and (after.size, after.mtime_ns) == (before.size, before.mtime_ns):
        news[after.inode] = facts[after.inode] = known.fact(after, at_last[3])
        return after.ctime_ns
    return 0
