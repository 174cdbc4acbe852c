"""Which releases a node holds, by looking at the names on its disk and never into the trees."""

from __future__ import annotations

import fcntl
import os
from typing import TYPE_CHECKING, NamedTuple

from infra_tasks.releases.layout import DIGEST, PROJECT, Shelf
from infra_tasks.releases.locks import AT_ONCE, EXCLUSIVE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from infra_tasks.settings import Home


class Standing(NamedTuple):
    """A release on the disk. `built_at`: its tree was made or last mended (wall seconds)."""

    project: str
    digest: str
    built_at: float
    used_at: float
    in_use: bool


def projects(home: Home) -> list[str]:
    """Return the projects that have a folder here, by name."""
    return sorted(name for name in _names(home.projects) if PROJECT.fullmatch(name))


def digests(shelf: Shelf) -> list[str]:
    """Return the releases of a project that are here, by name."""
    return sorted(name for name in _names(shelf.releases) if DIGEST.fullmatch(name))


def standing(home: Home) -> Iterator[Standing]:
    """Yield every release of this node, by project and digest."""
    for project in projects(home):
        shelf = Shelf(home, project)
        for digest in digests(shelf):
            try:
                built_at = shelf.tree(digest).stat().st_mtime
            except FileNotFoundError:
                continue  # removed since its name was read
            try:
                used_at = shelf.use(digest).stat().st_mtime
            except FileNotFoundError:
                used_at = built_at
            yield Standing(project, digest, built_at, used_at, in_use(shelf, digest))


def in_use(shelf: Shelf, digest: str) -> bool:
    """Say whether something runs in a release, is being done to it, or is copied from it.

    Who wants the other two for itself has the work lock before, so nobody is refused for our look at it.
    """
    return _is_held(shelf.work(digest), shelf.use(digest), shelf.lent(digest))


def _is_held(*paths: Path) -> bool:
    fds = []
    try:
        for path in paths:
            try:
                fds.append(os.open(path, os.O_RDWR | os.O_CLOEXEC))
            except FileNotFoundError:
                continue  # never made here: that would outlive a release that was just removed
            try:
                fcntl.flock(fds[-1], EXCLUSIVE | AT_ONCE)
            except BlockingIOError:
                return True
    finally:
        for fd in fds:
            os.close(fd)
    return False


def _names(folder: Path) -> list[str]:
    try:
        return os.listdir(folder)  # noqa: PTH208  names are all that is wanted
    except (FileNotFoundError, NotADirectoryError):
        return []
