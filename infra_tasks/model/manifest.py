"""What a release is made of: paths, modes and contents, and the digest that names it."""

from __future__ import annotations

import hashlib
import json
import unicodedata
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from infra_tasks.errors import ReleaseError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

PLAIN = 0o644
EXECUTABLE = 0o755
FORMAT = 1
# Names that are no UTF-8 are carried as Python carries them, so that every name has one spelling here.
NAMES = ("utf-8", "surrogateescape")
_KINDS = {("file", PLAIN), ("file", EXECUTABLE), ("link", EXECUTABLE)}
# How a part of a path that is empty, "." or ".." shows when all paths are put between slashes.
_OUTSIDE = ("//", "/./", "/../")


class Entry(NamedTuple):
    """One path of a tree. Folders are not entries: they are there because something lies in them, as in git.

    `mode` is 0644 or 0755 (only the executable bit counts; 0755 for links), `sha256` the content of a file, `target`
    where a link points, `size` in bytes.
    """

    path: str
    kind: Literal["file", "link"]
    mode: int
    size: int
    sha256: str = ""
    target: str = ""


class Diff(NamedTuple):
    """What a tree needs beyond what a base has. The first two map a wanted path to the path in the base.

    `shared` may be one inode (same content, same mode), `copied` has the content but another mode, `missing` must come.
    """

    shared: dict[str, str]
    copied: dict[str, str]
    missing: list[Entry]


@dataclass(frozen=True)
class Manifest:
    """All entries in the order of their paths, and the digest over them (sha256, 64 hex digits)."""

    entries: tuple[Entry, ...]
    digest: str

    @classmethod
    def of(cls, entries: Iterable[Entry]) -> Manifest:
        """Put entries in order and name them; ReleaseError if they can be no tree."""
        ordered = tuple(sorted(entries))
        manifest = cls(ordered, _digest(ordered))
        _check(manifest)
        return manifest

    @property
    def size_bytes(self) -> int:
        """Sum of all contents."""
        return sum(entry.size for entry in self.entries)

    def files(self) -> Iterator[Entry]:
        """Everything that has content."""
        return (entry for entry in self.entries if entry.kind == "file")

    @cached_property
    def _folders(self) -> frozenset[str]:
        return frozenset(folders_above(entry.path for entry in self.entries))

    def folders(self) -> frozenset[str]:
        """Every folder something lies in, without the root."""
        return self._folders

    def to_json(self) -> str:
        """One line of ASCII, whatever the names are."""
        told = {"format": FORMAT, "digest": self.digest, "entries": rows_of(self.entries)}
        return json.dumps(told, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str | bytes) -> Manifest:
        """Read what `to_json` wrote; ReleaseError if it is anything else or its digest is not that of its entries."""
        try:
            raw: Any = json.loads(text)
            if raw["format"] != FORMAT:
                raise ReleaseError(f"a manifest of format {raw['format']!r}; this version reads format {FORMAT}")
            told, entries = raw["digest"], entries_of(raw["entries"])
        except (ValueError, KeyError, TypeError) as error:
            raise ReleaseError(f"this is no manifest: {error}") from error
        manifest = cls.of(entries)
        if manifest.digest != told:
            raise ReleaseError(f"a manifest that calls itself {told} has the digest {manifest.digest}")
        return manifest


def diff(base: Manifest, wanted: Manifest) -> Diff:
    """Say what of `wanted` the base holds. Links are left out: the manifest itself says all about them."""
    found = Diff({}, {}, [])
    held = by_path(base).get
    new = []
    for entry in wanted.files():
        if held(entry.path) == entry:
            found.shared[entry.path] = entry.path
        else:
            new.append(entry)
    if not new:
        return found
    same = {(entry.sha256, entry.mode): entry.path for entry in base.files()}
    content = {entry.sha256: entry.path for entry in base.files()}
    for entry in new:
        if (entry.sha256, entry.mode) in same:
            found.shared[entry.path] = same[entry.sha256, entry.mode]
        elif entry.sha256 in content:
            found.copied[entry.path] = content[entry.sha256]
        else:
            found.missing.append(entry)
    return found


def collisions(entries: Iterable[Entry], *, case: bool = True, form: bool = True) -> list[tuple[str, str]]:
    """Return pairs of paths (folders as well) that are one to a disk blind to `case`, to Unicode `form`, or to both."""
    paths = [entry.path for entry in entries]
    seen: dict[str, str] = {}
    pairs = []
    for path in sorted(folders_above(paths).union(paths)):
        other = seen.setdefault(_fold(path, case=case, form=form), path)
        if other != path:
            pairs.append((other, path))
    return pairs


def _fold(path: str, *, case: bool, form: bool) -> str:
    if form and not path.isascii():
        path = unicodedata.normalize("NFC", path)
    if case:
        path = path.casefold()
    if form and not path.isascii():
        path = unicodedata.normalize("NFC", path)
    return path


def _digest(ordered: tuple[Entry, ...]) -> str:
    # Neither a path nor a target can hold a NUL, so the fields cannot run into each other.
    fields = [f"{kind}\0{mode:o}\0{path}\0{sha256 or target}\0" for path, kind, mode, _, sha256, target in ordered]
    return hashlib.sha256("".join(["infra_tasks manifest 1\0", *fields]).encode(*NAMES)).hexdigest()


def rows_of(entries: Iterable[Entry]) -> list[list[Any]]:
    """Return entries as plain lists, as they stand in JSON."""
    return [[path, kind, mode, size, sha256 or target] for path, kind, mode, size, sha256, target in entries]


def entries_of(rows: Any) -> list[Entry]:
    """Return the entries of such lists. Raises ValueError and TypeError for anything else."""
    # Ten thousand of them are read before each build: what can be checked for all at once is.
    make = Entry._make
    odd = {(kind, mode) for _, kind, mode, _, _ in rows} - _KINDS
    if odd:
        raise ValueError(f"no entry is of kind and mode {odd.pop()}")
    return [
        make((path, kind, mode, size, rest, "") if kind == "file" else (path, kind, mode, size, "", rest))
        for path, kind, mode, size, rest in rows
    ]


def _check(manifest: Manifest) -> None:
    paths = {entry.path for entry in manifest.entries}
    if len(paths) != len(manifest.entries):
        raise ReleaseError("a path is there twice in the manifest")
    between = f"/{'/'.join(paths)}/" if paths else ""
    if "\0" in between or any(part in between for part in _OUTSIDE):
        raise ReleaseError(
            "a path in the manifest is no path inside a tree (empty, absolute, or with '.' or '..' in it)"
        )
    below = manifest.folders() & paths
    if below:
        raise ReleaseError(f"{min(below)!r} is a file or a link, and yet something lies below it")


def is_outside(path: str) -> bool:
    """Say whether a path is none inside a tree: empty, absolute, or with '.' or '..' in it."""
    between = f"/{path}/"
    return "\0" in between or any(part in between for part in _OUTSIDE)


def folders_above(paths: Iterable[str]) -> set[str]:
    """Return every folder the paths lie in, without the root."""
    found: set[str] = set()
    for path in paths:
        at = path.rfind("/")
        while at > 0 and (folder := path[:at]) not in found:
            found.add(folder)
            at = path.rfind("/", 0, at)
    return found


def by_path(manifest: Manifest) -> Mapping[str, Entry]:
    """Return the entries by their paths."""
    return {entry.path: entry for entry in manifest.entries}
