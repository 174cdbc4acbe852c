"""Which files of a source make the project, and what is left out for which reason."""
# No Path objects here: ten thousand of them would cost more than the walk.
# ruff: noqa: PTH116

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING, NamedTuple

from infra_tasks.errors import SourceUnreadable
from infra_tasks.releases import git
from infra_tasks.releases.layout import Shelf
from infra_tasks.releases.rules import GIT_RULES, Rules, first_out, last_word, narrowing, read_rules

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from infra_tasks.releases.layout import Source
    from infra_tasks.settings import Home

_SPECIAL = "neither a file nor a link (a pipe, a socket or a device)"
_EMPTY = "an empty folder (as in git, a folder goes because something lies in it)"


class LeftOut(NamedTuple):
    """A path ("/" at its end for a folder with all in it) that does not go, and why."""

    path: str
    reason: str


def list_source(shelf: Shelf, source: Source) -> list[str]:
    """Return the paths that go, relative to the source. Some may be gone or be special files: the snapshot looks.

    Raises SourceUnreadable.
    """
    _must_be_there(source.path)
    own = narrowing(source.path, source.exclude)
    home = _inside(shelf, source)
    if git.is_work_tree(source.path):
        paths = git.list_tree(source.path).paths
        if not own and home is None:
            return paths
        return [path for path in paths if first_out(own, path) is None and not _below(path, home)]
    return [found.path for found in _walk(source.path, own, home) if found.reason == ""]


def left_out(home: Home, project: str, source: Source) -> Iterator[LeftOut]:
    """Say what does not go and why: which rule of which file. Costs a walk of what is not ignored, and calls of git.

    Raises SourceUnreadable.
    """
    shelf = Shelf(home, project)
    _must_be_there(source.path)
    own = narrowing(source.path, source.exclude)
    inner = _inside(shelf, source)
    if not git.is_work_tree(source.path):
        yield from (found for found in _walk(source.path, own, inner) if found.reason)
        return
    listed = git.list_tree(source.path)
    by_git = [LeftOut(*skipped) for skipped in (*git.ignored(source.path), *listed.skipped)]
    yield from by_git
    gone = {found.path for found in by_git}
    for found in _walk(source.path, own, inner, by_git=gone):
        if found.reason and found.path not in gone:
            yield found


def _must_be_there(path: Path) -> None:
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError as error:
        raise SourceUnreadable(f"the source {path} is not there: was it moved, or is its disk not mounted?") from error
    except OSError as error:
        raise SourceUnreadable(f"the source {path} cannot be read: {error.strerror}") from error
    if not stat.S_ISDIR(mode):
        raise SourceUnreadable(f"the source {path} is no folder")


def _inside(shelf: Shelf, source: Source) -> str | None:
    """Return where the node's own folder lies in the source, if it does: it must not be sent into itself."""
    root, top = os.path.realpath(shelf.home.root), os.path.realpath(source.path)
    return os.path.relpath(root, top) if root.startswith(top + os.sep) else None


def _below(path: str, folder: str | None) -> bool:
    return folder is not None and (path == folder or path.startswith(folder + "/"))


def _walk(root: Path, own: list[Rules], home: str | None, by_git: set[str] | None = None) -> Iterator[LeftOut]:
    """Walk a source; what goes has no reason. With `by_git` those are what git leaves out, else .gitignore rules."""
    pending: list[tuple[str, list[Rules]]] = [("", [])]
    while pending:
        prefix, nested = pending.pop()
        here = read_rules(root / prefix, GIT_RULES, prefix) if by_git is None else None
        nested = [*nested, here] if here else nested
        items = _scan(root, prefix)
        for item in items:
            is_folder = item.is_dir(follow_symlinks=False)
            path = prefix + item.name + ("/" if is_folder else "")
            reason = _never(path, item, home) or _by_rule(path, nested, own, by_git)
            if reason or not is_folder:
                yield LeftOut(path, reason)
            else:
                pending.append((path, nested))
        if not items and prefix:
            yield LeftOut(prefix, _EMPTY)


def _never(path: str, item: os.DirEntry[str], home: str | None) -> str:
    """Say why a path goes in no project."""
    if item.name == ".git":
        return "git's own files"
    if home is not None and path.rstrip("/") == home:
        return "the node's own folder (INFRA_HOME)"
    plain = item.is_symlink() or item.is_dir(follow_symlinks=False) or item.is_file(follow_symlinks=False)
    return "" if plain else _SPECIAL


def _by_rule(path: str, nested: list[Rules], own: list[Rules], by_git: set[str] | None) -> str:
    if by_git is not None and path in by_git:
        return "git"
    verdict = last_word(nested, path)
    if verdict is not None and verdict.out:
        return verdict.reason
    return first_out(own, path) or ""


def _scan(root: Path, prefix: str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(root / prefix) as found:
            return list(found)
    except FileNotFoundError:
        return []  # deleted while we walked: the snapshot looks again
    except OSError as error:
        said = f"the folder {root / prefix} cannot be read: {error.strerror}"
        raise SourceUnreadable(f"{said}; make it readable, or leave it out in .infraignore") from error
