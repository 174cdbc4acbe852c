"""Walk a source that is no git tree; what lies in a folder nobody changed is known from the walk before."""
# No Path objects here: ten thousand of them would cost more than the walk.
# ruff: noqa: PTH116

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from infra_tasks.releases.reading import settled
from infra_tasks.releases.rules import GIT_RULES, Rules, first_out, last_word, read_rules
from infra_tasks.releases.trouble import unreadable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

_SPECIAL = "neither a file nor a link (a pipe, a socket or a device)"
# In the place of a state that may change again without showing it: equal to none.
_YOUNG = "young"

# What stat says of a folder or of a file with rules; None where there is none.
State = tuple[int, ...] | str | None
# By folder ("" or with "/" at the end): its state, that of its .gitignore, what goes, and the folders to walk.
Folders = dict[str, tuple[State, State, list[str], list[str]]]


class SourceWalk:
    """One walk. What is `known` is from an earlier one with the same `own` rules and the same `home`."""

    def __init__(
        self, root: Path, own: Sequence[Rules], home: str | None, known: Mapping[str, object], now_ns: Callable[[], int]
    ) -> None:
        self.paths: list[str] = []
        self.folders: Folders = {}
        self._root = root
        self._top = os.fspath(root)
        self._own = own
        self._home = home
        self._known: Folders = dict(known)  # type: ignore[arg-type]
        self._now_ns = now_ns
        self._nested: dict[str, list[Rules]] = {}

    def run(self) -> None:
        """Find what goes. A change of rules makes all below their folder unknown."""
        pending = [("", True)]
        while pending:
            prefix, same_rules = pending.pop()
            state, rules = self._state(prefix), None
            was = self._known.get(prefix) if same_rules else None
            if was is None or not _same(was[0], state) or was[1] is not None:
                rules = self._state(prefix + GIT_RULES)
                same_rules = was is not None and _same(was[1], rules)
            if was is None or not _same(was[0], state) or not same_rules:
                was = self._scanned(prefix, state, rules)
            self.folders[prefix] = was
            self.paths += was[2]
            pending += [(below, same_rules) for below in was[3]]

    def _state(self, path: str) -> State:
        began_ns = self._now_ns()
        try:
            seen = os.stat(f"{self._top}/{path}")
        except OSError:
            return None
        young = not settled(seen.st_ctime_ns, began_ns)
        return _YOUNG if young else (seen.st_mode, seen.st_ino, seen.st_size, seen.st_mtime_ns, seen.st_ctime_ns)

    def _scanned(self, prefix: str, state: State, rules: State) -> tuple[State, State, list[str], list[str]]:
        files: list[str] = []
        below: list[str] = []
        nested = self._rules_for(prefix)
        for item in scan(self._root, prefix):
            is_folder = item.is_dir(follow_symlinks=False)
            path = prefix + item.name + ("/" if is_folder else "")
            if not (never(path, item, self._home) or by_rule(path, nested, self._own)):
                (below if is_folder else files).append(path)
        return state, rules, files, below

    def _rules_for(self, prefix: str) -> list[Rules]:
        if prefix not in self._nested:
            above = self._rules_for(prefix[: prefix.rfind("/", 0, -1) + 1]) if prefix else []
            here = read_rules(self._root / prefix, GIT_RULES, prefix)
            self._nested[prefix] = [*above, here] if here else above
        return self._nested[prefix]


def _same(one: State, other: State) -> bool:
    return one == other != _YOUNG


def never(path: str, item: os.DirEntry[str], home: str | None) -> str:
    """Say why a path goes in no project; nothing if it may go."""
    if item.name == ".git":
        return "git's own files"
    if home is not None and path.rstrip("/") == home:
        return "the node's own folder (INFRA_HOME)"
    plain = item.is_file(follow_symlinks=False) or item.is_dir(follow_symlinks=False) or item.is_symlink()
    return "" if plain else _SPECIAL


def by_rule(path: str, nested: Sequence[Rules], own: Sequence[Rules]) -> str:
    """Say which rule leaves a path out; nothing if none does."""
    if nested:
        verdict = last_word(nested, path)
        if verdict is not None and verdict.out:
            return verdict.reason
    return (first_out(own, path) or "") if own else ""


def scan(root: Path, prefix: str) -> list[os.DirEntry[str]]:
    """Return what lies in a folder; nothing if it is gone. Raises SourceUnreadable."""
    try:
        with os.scandir(root / prefix) as found:
            return list(found)
    except FileNotFoundError:
        return []  # deleted while we walked: the snapshot looks again
    except OSError as error:
        raise unreadable(f"the folder {root / prefix}", error) from error
