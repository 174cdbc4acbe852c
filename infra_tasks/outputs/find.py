"""Which files of an attempt's folders its patterns mean, and which of them cannot be taken.

Folders are walked by name, links are never followed out of the folder they are in, and only where a pattern leads.
"""
# No Path objects here: this is called for each of ten thousand files.
# ruff: noqa: PTH114, PTH115, PTH118

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING, NamedTuple

from infra_tasks.releases.reading import CHUNK_BYTES, open_to_read

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from infra_tasks.model.patterns import Patterns, Places

MAX_FILES = 10_000
MAX_LEFT_OUT = 100
NOT_FOLLOWED = "it is not followed"


class Root(NamedTuple):
    """A folder to look in. `base`: the same folder before the run; what is still the same is no output."""

    path: str
    base: str = ""


class Found(NamedTuple):
    """A file that is meant: its path as the patterns see it, and where it is. `alone`: it has no other name."""

    path: str
    source: str
    alone: bool


class LeftOut(NamedTuple):
    """What is meant and cannot be taken, and why."""

    path: str
    why: str


class Finding(NamedTuple):
    """All that was found. `missing`: patterns that brought nothing; `too_many`: more than `MAX_FILES` are meant."""

    files: list[Found]
    left_out: list[LeftOut]
    missing: list[str]
    too_many: bool


def find(roots: Sequence[Root], patterns: Patterns, beat: Callable[[], object] = lambda: None) -> Finding:
    """Look through the folders. Of two files with the same path the one in the earlier folder is taken.

    `beat` is called with every folder that was listed, and every piece that was read.
    """
    files: dict[str, Found] = {}
    left_out: list[LeftOut] = []
    brought: set[int] = set()
    for root in roots:
        for seen, meant in _walk(root, patterns, beat):
            if isinstance(seen, LeftOut):
                left_out.append(seen)
                continue
            if len(files) == MAX_FILES and seen.path not in files:
                return Finding(list(files.values()), left_out, _missing(patterns, brought), too_many=True)
            files.setdefault(seen.path, seen)
            brought.update(meant)
    return Finding(list(files.values()), left_out, _missing(patterns, brought), too_many=False)


def _missing(patterns: Patterns, brought: set[int]) -> list[str]:
    return [text for at, text in enumerate(patterns.texts) if at not in brought]


def _walk(root: Root, patterns: Patterns, beat: Callable[[], object]) -> Iterator[tuple[Found | LeftOut, list[int]]]:
    """Yield what is meant, in the order of names, and by which patterns."""
    if os.path.islink(root.path):  # the command put it there
        yield LeftOut(".", f"the folder itself is a link: {NOT_FOLLOWED}"), []
        return
    waiting: list[tuple[str, Places]] = [("", patterns.begin())]
    while waiting:
        beat()
        folder, places = waiting.pop()
        try:
            with os.scandir(os.path.join(root.path, folder)) as listed:
                items = sorted(listed, key=lambda item: item.name)
        except OSError as error:
            if folder or not isinstance(error, FileNotFoundError):
                yield LeftOut(folder or ".", f"a folder that cannot be read: {error.strerror}"), []
            continue
        below = []
        for item in items:
            path, next_places = os.path.join(folder, item.name), patterns.step(places, item.name)
            if not patterns.lead_on(next_places):
                continue
            if item.is_dir(follow_symlinks=False):
                below.append((path, next_places))
                continue
            seen = _seen(root, path, item, beat, is_meant=bool(meant := patterns.meant(next_places)))
            if seen is not None:
                yield seen, meant
        waiting += reversed(below)


def _seen(
    root: Root, path: str, item: os.DirEntry[str], beat: Callable[[], object], *, is_meant: bool
) -> Found | LeftOut | None:
    """Judge what is no folder; None when it is not meant, or was there before the run."""
    if item.is_symlink():
        return _seen_link(root, path, item, is_meant=is_meant)
    if not is_meant:
        return None
    try:
        state = item.stat(follow_symlinks=False)
    except OSError as error:
        return LeftOut(path, f"cannot be looked at: {error.strerror}")
    if not stat.S_ISREG(state.st_mode):
        return LeftOut(path, f"is {_kind(state.st_mode)}, no file")
    if root.base and _is_same(item.path, os.path.join(root.base, path), state, beat):
        return None
    return Found(path, item.path, state.st_nlink == 1)


def _seen_link(root: Root, path: str, item: os.DirEntry[str], *, is_meant: bool) -> Found | LeftOut | None:
    """A link stands for the file it leads to, if that lies in the same folder."""
    if root.base and _leads_as_before(item.path, os.path.join(root.base, path)):
        return None
    try:
        target = os.path.realpath(item.path, strict=True)
        state = os.lstat(target)
    except OSError as error:
        return LeftOut(path, f"a link that leads nowhere: {error.strerror}") if is_meant else None
    is_folder = stat.S_ISDIR(state.st_mode)
    if not (is_meant or is_folder):
        return None
    if stat.S_ISREG(state.st_mode) and target.startswith(os.path.realpath(root.path) + os.sep):
        return Found(path, target, state.st_nlink == 1)
    return LeftOut(
        path, f"a link to a folder: {NOT_FOLLOWED}" if is_folder else f"a link out of its folder: {NOT_FOLLOWED}"
    )


def _leads_as_before(link: str, before: str) -> bool:
    try:
        return os.readlink(link) == os.readlink(before)
    except OSError:
        return False


def _is_same(path: str, before: str, state: os.stat_result, beat: Callable[[], object]) -> bool:
    """Say whether a file holds what it held before the run; when that is not known any more, it does not."""
    try:
        old = os.lstat(before)
        return stat.S_ISREG(old.st_mode) and old.st_size == state.st_size and _same_bytes(path, before, beat)
    except OSError:
        return False


def _same_bytes(one: str, other: str, beat: Callable[[], object]) -> bool:
    fds: list[int] = []
    try:
        for path in (one, other):
            fds.append(open_to_read(path))  # noqa: PERF401  what was opened is closed also when the next one fails
        while (piece := os.read(fds[0], CHUNK_BYTES)) == os.read(fds[1], CHUNK_BYTES):
            if not piece:
                return True
            beat()
        return False
    finally:
        for fd in fds:
            os.close(fd)


def _kind(mode: int) -> str:
    kinds = {stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket", stat.S_IFBLK: "a device", stat.S_IFCHR: "a device"}
    return kinds.get(stat.S_IFMT(mode), "something special")
