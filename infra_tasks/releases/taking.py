"""Look at every path of a source, read what changed, and say whether all of it was there at one time."""
# No Path objects here: ten thousand of them would cost more than the walk.
# ruff: noqa: PTH115, PTH116

from __future__ import annotations

import os
import posixpath
import stat
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, NamedTuple

from infra_tasks.errors import SourceChanging, SourceUnreadable
from infra_tasks.model.manifest import EXECUTABLE, PLAIN, Entry, folders_above
from infra_tasks.releases.listing import NOTHING, Lister, Listing
from infra_tasks.releases.reading import Changing, closing_fd, hash_file, open_folder, settled
from infra_tasks.releases.trouble import unreadable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from infra_tasks.releases.layout import Shelf, Source

# Mode, size, mtime_ns, ctime_ns and inode; None if it may have changed without showing it.
State = tuple[int, int, int, int, int] | None


class Seen(NamedTuple):
    """What a pass saw: paths in order, the state of each, its sha256 or where it links to. Plain, to be kept."""

    listing: Listing
    paths: list[str]
    states: list[State]
    contents: list[str]

    @classmethod
    def nothing(cls) -> Seen:
        """Nothing yet."""
        return cls(NOTHING, [], [], [])

    @classmethod
    def of(cls, kept: Sequence[Any]) -> Seen:
        """Read what `Taking.to_keep` returned."""
        return cls(Listing(*kept[0]), *kept[1:])

    def entries(self) -> list[Entry]:
        """Return the entries of the manifest."""
        rows = zip(self.paths, self.states, self.contents, strict=True)
        make, is_file, runs = Entry._make, stat.S_ISREG, (PLAIN, EXECUTABLE)
        entries = [
            make((path, "file", runs[bool(state[0] & 0o100)], state[1], content, ""))
            if is_file(state[0])
            else Entry(path, "link", EXECUTABLE, len(os.fsencode(content)), "", content)
            for path, state, content in rows
            if state is not None
        ]
        return _without_what_links_hide(entries)


class Taking:
    """Passes over one source, each knowing what the one before has seen.

    `differs`: paths or contents are not those of what was kept at first.
    """

    def __init__(self, shelf: Shelf, source: Source, kept: Seen, now_ns: Callable[[], int]) -> None:
        self.root = source.path
        self.seen = kept
        self.racy: set[str] = set()
        self.news: list[str] = []
        self.hashed_files = 0
        self.differs = False
        self._shelf = shelf
        self._source = source
        self._now_ns = now_ns
        self._top = os.fspath(source.path) + "/"
        self._began_ns = 0
        self._rests = True

    def run_once(self) -> bool:
        """Look at every path, read what is not known; `news` names what is not as it was.

        True if what was seen was all there when the pass began: nothing is new, or what is new was last changed before,
        and no folder was changed since.
        """
        self._began_ns = self._now_ns()
        lister = Lister(self._shelf, self._source, self._now_ns)
        with ThreadPoolExecutor(1) as beside:
            asked = beside.submit(lister.ask)
            stale = self._stale()
            listing = lister.listing(asked.result(), self.seen.listing)
        self.news, self._rests = [], True
        if stale or listing.paths != self.seen.listing.paths or len(listing.paths) != len(self.seen.paths):
            self._look_again(listing, stale)
        if listing is not self.seen.listing:
            self.seen = self.seen._replace(listing=listing)
        return not self.news or (self._rests and self._folders_rest())

    def _stale(self) -> list[str]:
        """Name the paths that are not in the state they were in. Most of the time of a snapshot is spent here."""
        seen = self.seen
        stale = []
        look = os.stat
        try:
            top = open_folder(self.root)
        except OSError as error:
            raise unreadable(f"the source {self.root}", error) from error
        with closing_fd(top):
            for path, state in zip(seen.paths, seen.states, strict=True):
                try:
                    now = look(path, dir_fd=top, follow_symlinks=False)
                except OSError:
                    stale.append(path)
                    continue
                if (now.st_mode, now.st_size, now.st_mtime_ns, now.st_ctime_ns, now.st_ino) != state:
                    stale.append(path)
        return stale

    def _look_again(self, listing: Listing, stale: list[str]) -> None:
        """Look at what is stale, new, or listed though it was not there."""
        seen = self.seen
        rows = dict(zip(seen.paths, zip(seen.states, seen.contents, strict=True), strict=True))
        was = {path: rows.pop(path) for path in stale}
        listed = dict.fromkeys(listing.paths)
        gone = rows.keys() - listed.keys()
        self.news += sorted(gone | (was.keys() - listed.keys()))
        for path in gone:
            del rows[path]
        for path in [path for path in listed if path not in rows]:
            found = self._look(path, was.get(path))
            if found is not None:
                rows[path] = found
            if found != was.get(path):
                self.news.append(path)
        if self.news:
            self.differs = True
            self.racy.intersection_update(rows)
            paths = sorted(rows)
            self.seen = Seen(listing, paths, [rows[path][0] for path in paths], [rows[path][1] for path in paths])

    def _look(self, path: str, was: tuple[State, str] | None) -> tuple[State, str] | None:
        """Return what a path is now; None if there is nothing that goes."""
        try:
            found = os.lstat(self._top + path)
            if was is not None and was[0] == _state(found):
                return was
            if stat.S_ISREG(found.st_mode):
                return self._read(path)
            if stat.S_ISLNK(found.st_mode):
                return self._link(path, found)
        except (FileNotFoundError, NotADirectoryError):
            return None  # tracked and deleted, or deleted since it was listed
        except OSError as error:
            raise _refused(self.root, path, error) from error
        return None

    def _link(self, path: str, found: os.stat_result) -> tuple[State, str]:
        target = os.readlink(self._top + path)
        _check_link(self.root, path, target)
        self._rests = self._rests and settled(found.st_ctime_ns, self._began_ns)
        return _state(found), target

    def _read(self, path: str) -> tuple[State, str]:
        began_ns = self._now_ns()
        digest, found = hash_file(self._top + path)
        self.hashed_files += 1
        self._rests = self._rests and settled(found.st_ctime_ns, self._began_ns)
        # Such a hash is used once and not kept.
        (self.racy.discard if settled(found.st_ctime_ns, began_ns) else self.racy.add)(path)
        return _state(found), digest

    def _folders_rest(self) -> bool:
        """Say whether nothing has come to any folder or left it since the pass began, nor shortly before."""
        folders = ("", *folders_above(self.seen.paths))
        try:
            return all(settled(os.stat(self._top + each).st_ctime_ns, self._began_ns) for each in folders)
        except OSError:
            return False

    def to_keep(self) -> tuple[Any, ...]:
        """Return what was seen, to begin with it another time."""
        seen = self.seen
        states = [None if path in self.racy else state for path, state in zip(seen.paths, seen.states, strict=True)]
        return tuple(seen.listing), seen.paths, states if self.racy else seen.states, seen.contents


def _state(found: os.stat_result) -> tuple[int, int, int, int, int]:
    return found.st_mode, found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino


def _refused(root: Path, path: str, error: OSError) -> SourceChanging | SourceUnreadable:
    if isinstance(error, Changing):
        return SourceChanging(f"{path!r} in {root} {error.strerror}; wait, or leave it out (.infraignore)")
    return unreadable(f"{path!r} in {root}", error)


def _check_link(root: Path, path: str, target: str) -> None:
    """Refuse links that would lead elsewhere in a release than here: G5 promises this code and no other.

    An absolute link to something outside (`/usr/share/dict`) means the node's own and goes as it is.
    """
    if target.startswith("/"):
        inside = (os.fspath(root) + "/", os.path.realpath(root) + "/")
        if not os.path.normpath(target).startswith(inside):
            return
        wrong = "leads by an absolute path into the source itself, which a release must not depend on: make it relative"
    elif posixpath.normpath(posixpath.join(posixpath.dirname(path), target)).split("/", 1)[0] != "..":
        return
    else:
        wrong = "leads out of the source, and what it leads to would not be sent: make it a copy"
    raise SourceUnreadable(f"the link {path!r} -> {target!r} in {root} {wrong}, or leave it out (.infraignore)")


def _without_what_links_hide(entries: list[Entry]) -> list[Entry]:
    """Drop tracked files whose folder has become a link: git still lists them, the tree has them no more."""
    links = {entry.path for entry in entries if entry.kind == "link"}
    if not links or links.isdisjoint(folders_above(entry.path for entry in entries)):
        return entries
    hidden = tuple(path + "/" for path in links)
    return [entry for entry in entries if not entry.path.startswith(hidden)]
