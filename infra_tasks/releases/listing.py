"""Which files of a source make the project, and what is left out for which reason."""
# No Path objects here: ten thousand of them would cost more than the walk.
# ruff: noqa: PTH116

from __future__ import annotations

import hashlib
import os
import stat
from typing import TYPE_CHECKING, Any, NamedTuple

from infra_tasks.errors import SourceUnreadable
from infra_tasks.releases import git
from infra_tasks.releases.layout import Shelf
from infra_tasks.releases.rules import GIT_RULES, Rules, first_out, narrowing, read_rules
from infra_tasks.releases.source_walk import SourceWalk, by_rule, never, scan
from infra_tasks.releases.trouble import unreadable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from infra_tasks.releases.layout import Source
    from infra_tasks.settings import Home

_EMPTY = "an empty folder (as in git, a folder goes because something lies in it)"


class LeftOut(NamedTuple):
    """A path ("/" at its end for a folder with all in it) that does not go, and why."""

    path: str
    reason: str


class Listing(NamedTuple):
    """The paths that go, relative to the source, and what they follow from: the same `mark`, the same paths.

    Some may be gone or be special files: the snapshot looks. `out` is what own rules left out of what git told,
    `folders` what a walk remembers. All of it is plain, so that it can be kept.
    """

    mark: tuple[Any, ...]
    paths: list[str]
    out: list[str]
    folders: Mapping[str, Any]


NOTHING = Listing((), [], [], {})


class Lister:
    """Lists one source, again and again. Raises SourceUnreadable."""

    def __init__(self, shelf: Shelf, source: Source, now_ns: Callable[[], int]) -> None:
        self._path = source.path
        self._now_ns = now_ns
        _must_be_there(source.path)
        self._own = narrowing(source.path, source.exclude)
        self._home = _inside(shelf, source)
        self._by_git = git.is_work_tree(source.path)

    def ask(self) -> bytes:
        """Ask git, if it is a git tree. The answer is for `listing`; may be called in a thread."""
        return git.ask_for_files(self._path) if self._by_git else b""

    def listing(self, answer: bytes, kept: Listing) -> Listing:
        """Return what goes. `kept` is an earlier listing: what still holds of it is not worked out again.

        It is returned itself if all of it holds.
        """
        rules = (tuple(rules.words for rules in self._own), self._home)
        found = self._from_git(answer, rules, kept) if self._by_git else self._walked(rules, kept)
        return kept if found == kept else found

    def _walked(self, rules: tuple[Any, ...], kept: Listing) -> Listing:
        mark = ("walk", "", *rules)
        walk = SourceWalk(self._path, self._own, self._home, kept.folders if kept.mark == mark else {}, self._now_ns)
        walk.run()
        return Listing(mark, walk.paths, [], walk.folders)

    def _from_git(self, answer: bytes, rules: tuple[Any, ...], kept: Listing) -> Listing:
        mark = ("git", hashlib.sha256(answer).hexdigest(), *rules)
        if kept.mark == mark:
            return kept
        told = git.read_answer(self._path, answer)
        if told.inner:
            mark = ("git, and repositories inside", *mark[1:])
        if not self._own and self._home is None:
            return Listing(mark, told.paths, [], {})
        judged = dict.fromkeys(kept.paths, True) | dict.fromkeys(kept.out, False) if kept.mark[2:] == mark[2:] else {}
        goes = {path: judged[path] if path in judged else self._goes(path) for path in told.paths}
        return Listing(mark, [path for path in goes if goes[path]], [path for path in goes if not goes[path]], {})

    def _goes(self, path: str) -> bool:
        return first_out(self._own, path) is None and not _below(path, self._home)


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
        raise unreadable(f"the source {path}", error) from error
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
        items = scan(root, prefix)
        for item in items:
            is_folder = item.is_dir(follow_symlinks=False)
            path = prefix + item.name + ("/" if is_folder else "")
            told = "git" if by_git is not None and path in by_git else ""
            reason = never(path, item, home) or told or by_rule(path, nested, own)
            if reason or not is_folder:
                yield LeftOut(path, reason)
            else:
                pending.append((path, nested))
        if not items and prefix:
            yield LeftOut(prefix, _EMPTY)
