"""Translate what the disk says into errors a person can act on."""

from __future__ import annotations

import errno
from contextlib import contextmanager
from typing import TYPE_CHECKING

from infra_tasks.errors import ReleaseError, SourceUnreadable

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

OPEN_FILES_CURE = "raise the limit of open files (ulimit -n) where the node is started"
_CURES = {
    errno.ENOSPC: "free some space, or prune releases and runs on this node",
    errno.EDQUOT: "free some space, or prune releases and runs on this node",
    errno.EROFS: "the node's folder must be writable: mount it so, or set INFRA_HOME to another one",
    errno.EACCES: "give the user the fleet runs as the right to write there",
    errno.EPERM: "give the user the fleet runs as the right to write there",
    errno.EILSEQ: "this disk cannot hold the name; rename the file",
    errno.ENAMETOOLONG: "the name is too long for this disk; rename the file",
    errno.EMFILE: OPEN_FILES_CURE,
    errno.ENFILE: OPEN_FILES_CURE,
}
# What keeps a source from being read though it is readable.
_READING_CURES = {
    errno.ENAMETOOLONG: "shorten it, or leave it out (.infraignore)",
    errno.EMFILE: OPEN_FILES_CURE,
    errno.ENFILE: OPEN_FILES_CURE,
}


@contextmanager
def said_of(what: str, where: Path) -> Iterator[None]:
    """Turn an OSError into a ReleaseError: `what` could not be done in `where`, which file, why, what to do."""
    try:
        yield
    except OSError as error:
        cure = _CURES.get(error.errno or 0, "")
        name = f" ({error.filename!r})" if error.filename else ""
        raise ReleaseError(
            f"{what} in {where}: {error.strerror or error}{name}" + (f"; {cure}" if cure else "")
        ) from error


def unreadable(what: str, error: OSError) -> SourceUnreadable:
    """Return the error for a part of a source that cannot be read: why, and what to do."""
    cure = _READING_CURES.get(error.errno or 0, "make it readable, or leave it out (.infraignore)")
    return SourceUnreadable(f"{what} cannot be read: {error.strerror}; {cure}")
