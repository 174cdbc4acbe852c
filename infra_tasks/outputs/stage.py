"""One file from where the command left it into the folder of its attempt's outputs.

A second name costs no room; where the disk cannot give one, or the file has other names already (writing to an output
must not write to somebody else's file), it is cloned, or copied.
"""
# No Path objects here: this is called for each of ten thousand files.
# ruff: noqa: PTH103, PTH108, PTH118, PTH120

from __future__ import annotations

import os
import stat
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from infra_tasks.releases.copying import cannot_link, clone
from infra_tasks.releases.reading import Changing, open_to_read, read_through
from infra_tasks.runner.attempt import write_all

if TYPE_CHECKING:
    from collections.abc import Callable

    from infra_tasks.outputs.find import Found


class Staged(NamedTuple):
    """A file that is there."""

    path: str
    size_bytes: int
    sha256: str


def stage(found: Found, into: str, beat: Callable[[], object]) -> Staged:
    """Bring one file below `into`; `beat` is called with every piece that was read. Raises OSError, leaving none."""
    target = os.path.join(into, found.path)
    os.makedirs(os.path.dirname(target), exist_ok=True)
    try:
        digest = _bring(found, target, beat)
        return Staged(found.path, os.lstat(target).st_size, digest)
    except FileExistsError:
        raise
    except BaseException:
        with suppress(OSError):
            os.unlink(target)
        raise


def _bring(found: Found, target: str, beat: Callable[[], object]) -> str:
    if found.alone and _linked(found.source, target):
        return _hash(target, beat)
    if _cloned(found.source, target):
        return _hash(target, beat)
    return _copy(found.source, target, beat)


def _linked(source: str, target: str) -> bool:
    """Make the target another name of the source; False where the disk cannot."""
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError as error:
        if cannot_link(error):
            return False
        raise
    return True


def _cloned(source: str, target: str) -> bool:
    try:
        return clone(source, target, _own_mode(os.lstat(source)))
    except Changing as error:
        raise OSError(0, "changed while it was taken", source) from error


def _own_mode(state: os.stat_result) -> int:
    """Return the mode of a copy: its owner may always read and replace it."""
    return stat.S_IMODE(state.st_mode) & 0o777 | 0o600


def _hash(path: str, beat: Callable[[], object]) -> str:
    fd = open_to_read(path)
    try:
        return read_through(fd, os.fstat(fd).st_size, lambda _piece: beat())
    finally:
        os.close(fd)


def _copy(source: str, target: str, beat: Callable[[], object]) -> str:
    read_fd = open_to_read(source)
    try:
        state = os.fstat(read_fd)
        write_fd = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, _own_mode(state))
        try:

            def keep(piece: bytes) -> None:
                write_all(write_fd, piece)
                beat()

            return read_through(read_fd, state.st_size, keep)
        finally:
            os.close(write_fd)
    finally:
        os.close(read_fd)
