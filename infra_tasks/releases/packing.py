"""Many small files travel as a few packs: their contents one after the other, in an order both ends know.

rsync spends more on a small file than on its bytes, at both ends; of a pack each file is made and checked in one go.
"""
# No Path objects here: this is called for each of ten thousand files.

from __future__ import annotations

import hashlib
import os
import stat
from typing import TYPE_CHECKING, NamedTuple

from infra_tasks.errors import NotAsSent, SourceChanging
from infra_tasks.releases.copying import cannot_give
from infra_tasks.releases.reading import TO_READ, closing_fd, open_folder
from infra_tasks.releases.supply import sealed
from infra_tasks.releases.trouble import unreadable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from infra_tasks.model.manifest import Entry
    from infra_tasks.releases.walk import Plain

# Fewer small files than this go one by one.
MANY = 500
SMALL_BYTES = 256 * 1024
# A pack is on both disks while it travels: for less than an hour, whatever link there is. Each takes a session of its
# own, which begins with somebody's shell.
PACK_BYTES = 128 << 20
# Who watches is told of each pack that went.
WATCHED_PACK_BYTES = 16 << 20
BUFFER_BYTES = 1 << 20
# A small change: at most one in so many files, and so many bytes. A session of rsync takes longer than the rest of it.
FEW_OF = 10
LITTLE_BYTES = 1 << 20
_TO_MAKE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class Plan(NamedTuple):
    """What goes in which pack, and what goes by itself."""

    packs: list[list[Entry]]
    loose: list[Entry]


def plan(entries: Sequence[Entry], pack_bytes: int) -> Plan:
    """Return how files travel. Both ends work it out from the same files in the same order."""
    small = [entry for entry in entries if entry.size <= SMALL_BYTES]
    if len(small) < MANY:
        return Plan([], list(entries))
    packs: list[list[Entry]] = [[]]
    left = pack_bytes
    for entry in small:
        if entry.size > left and packs[-1]:
            packs.append([])
            left = pack_bytes
        packs[-1].append(entry)
        left -= entry.size
    return Plan(packs, [entry for entry in entries if entry.size > SMALL_BYTES])


def is_little(entries: Sequence[Entry], files: int) -> bool:
    """Say whether these, of so many files of a release, are a small change: a message holds them."""
    return len(entries) * FEW_OF <= files and sum(entry.size for entry in entries) <= LITTLE_BYTES


def pack(tree: Path, entries: Sequence[Entry], place: Path) -> None:
    """Write files of a tree into a new pack. Raises SourceChanging, SourceUnreadable; OSError when that cannot be."""
    with place.open("xb", buffering=BUFFER_BYTES) as file:
        file.writelines(contents(tree, entries))


def contents(tree: Path, entries: Sequence[Entry]) -> Iterator[bytes]:
    """Yield what files of a tree hold. Raises SourceChanging, SourceUnreadable."""
    with closing_fd(_entered(tree)) as top:
        for entry in entries:
            try:
                content = _read(top, entry)
            except OSError as error:
                if not cannot_give(error):
                    raise unreadable(f"{entry.path!r} in {tree}", error) from error
                content = None
            if content is None:
                raise SourceChanging(f"{entry.path!r} in {tree} is not what it was when the snapshot was taken")
            yield content


def _entered(tree: Path) -> int:
    try:
        return open_folder(tree)
    except OSError as error:
        raise unreadable(f"the source {tree}", error) from error


def _read(top: int, entry: Entry) -> bytes | None:
    """Return a file's content, None if it has not the size it should have."""
    fd = os.open(entry.path, TO_READ, dir_fd=top)
    try:
        content = os.read(fd, entry.size + 1)
        while len(content) < entry.size and (more := os.read(fd, entry.size + 1 - len(content))):
            content += more
    finally:
        os.close(fd)
    return content if len(content) == entry.size else None


def unpack(read: Callable[[int], bytes], entries: Sequence[Entry], top: int) -> dict[str, Plain]:
    """Make the files of a pack below the folder `top`, sealed; return the state of each right then.

    `read` gives the next bytes of the pack. Raises NotAsSent when a file is not what it should be; OSError.
    """
    return {entry.path: _made(read(entry.size), entry, top) for entry in entries}


def _made(content: bytes, entry: Entry, top: int) -> Plain:
    path, _, _, size, sha256, _ = entry
    if hashlib.sha256(content).hexdigest() != sha256:
        raise NotAsSent(f"{path!r} did not arrive as it was sent")
    mode = sealed(entry)
    fd = os.open(path, _TO_MAKE, mode, dir_fd=top)
    try:
        written = os.write(fd, content)
        while written < size:
            written += os.write(fd, content[written:])
        found = os.fstat(fd)
        if stat.S_IMODE(found.st_mode) != mode:  # the umask of who calls
            os.fchmod(fd, mode)
            found = os.fstat(fd)
    finally:
        os.close(fd)
    return path, found.st_mode, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
