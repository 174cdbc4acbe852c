"""Where the releases of a project live in a node's folder, and what a release is to its callers."""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from infra_tasks.errors import ReleaseError

if TYPE_CHECKING:
    from pathlib import Path

    from infra_tasks.settings import Home

DIGEST = re.compile(r"[0-9a-f]{64}")
PROJECT = re.compile(r"[^/\0.][^/\0]*")
# Modes in a release: nobody writes there. Folders as well, so that Python leaves no __pycache__.
SEALED_PLAIN = 0o444
SEALED_EXECUTABLE = 0o555
SEALED_FOLDER = 0o555
OPEN_FOLDER = 0o755


@dataclass(frozen=True)
class Source:
    """The folder a project lives in, and what its fleet file leaves out (gitignore syntax)."""

    path: Path
    exclude: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Make the path absolute: links are judged by it, and the stat cache is named by it."""
        object.__setattr__(self, "path", self.path.absolute())


@dataclass(frozen=True)
class Brought:
    """What it took to build a release here: files and bytes that were brought, files a base shared, seconds."""

    files: int
    size_bytes: int
    shared_files: int
    duration_s: float


@dataclass(frozen=True)
class Shelf:
    """The folder of one project on a node. Every name of a file beside a release is made here."""

    home: Home
    project: str

    def __post_init__(self) -> None:
        """Refuse a name that would lead out of the folder."""
        if not PROJECT.fullmatch(self.project):
            raise ReleaseError(f"{self.project!r} cannot be the name of a project: it would be no folder of its own")

    @property
    def root(self) -> Path:
        """Everything of the project."""
        return self.home.projects / self.project

    @property
    def releases(self) -> Path:
        """The trees and what is kept beside them."""
        return self.root / "releases"

    @property
    def cache(self) -> Path:
        """What may be deleted at any time and only costs time then."""
        return self.root / "cache"

    def tree(self, digest: str) -> Path:
        """Return the folder of a release; ReleaseError for what is no digest."""
        if not DIGEST.fullmatch(digest):
            raise ReleaseError(f"{digest!r} is not the digest of a release (64 hex digits)")
        return self.releases / digest

    def building(self, digest: str) -> Path:
        """Return where a release grows before it gets its name: another place for each try.

        An rsync whose builder died may still be about to enter its tree, and must not find that of the next builder.
        """
        return self.releases / f".building-{digest}-{secrets.token_hex(4)}"

    def half_built(self, digest: str) -> list[Path]:
        """Return the trees of tries that died. They belong to the holder of `work`."""
        return list(self.releases.glob(f".building-{digest}*"))

    def removing(self, digest: str) -> Path:
        """Return where a release goes before it is deleted. Belongs to the holder of `work`."""
        return self.releases / f".removing-{digest}"

    def manifest(self, digest: str) -> Path:
        """Return the file with the manifest. It may be there before the tree is."""
        return self.releases / f"{digest}.json"

    def seen(self, digest: str) -> Path:
        """Return the file with the fingerprint of the tree when it was last found right."""
        return self.releases / f"{digest}.seen"

    def setup(self, digest: str) -> Path:
        """Return the file that says which setup was done and what it made."""
        return self.releases / f"{digest}.setup"

    def setup_log(self, digest: str) -> Path:
        """Return the output of the setup."""
        return self.root / "setup" / f"{digest}.log"

    def use(self, digest: str) -> Path:
        """Return the lock shared by who runs in the tree, exclusive for who changes it. Its mtime is the last use."""
        return self.releases / f"{digest}.lock"

    def work(self, digest: str) -> Path:
        """Return the lock of who builds, mends, sets up or removes the release: one at a time."""
        return self.releases / f"{digest}.work"

    def lent(self, digest: str) -> Path:
        """Return the lock shared by who copies from the tree, exclusive for who removes it."""
        return self.releases / f"{digest}.lent"

    def beside(self, digest: str) -> tuple[Path, ...]:
        """Return all that is kept beside a tree."""
        locks = (self.use(digest), self.lent(digest), self.work(digest))
        return (self.manifest(digest), self.seen(digest), self.setup(digest), *locks)


@dataclass(frozen=True)
class Release:
    """A verified tree on this node.

    `damaged` names what is wrong with it and cannot be mended, because something runs in it: use a private copy then.
    `brought` is there when this call built it.
    """

    shelf: Shelf
    digest: str
    damaged: tuple[str, ...] = ()
    brought: Brought | None = None

    @property
    def path(self) -> Path:
        """The tree itself."""
        return self.shelf.tree(self.digest)

    @property
    def project(self) -> str:
        """The name of the project."""
        return self.shelf.project

    def with_damage(self, damaged: tuple[str, ...]) -> Release:
        """Return the same release with what was found in it."""
        return replace(self, damaged=damaged)
