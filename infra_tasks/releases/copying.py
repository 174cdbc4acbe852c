"""Make one file of a tree from another: linked, cloned, or copied with its content checked on the way."""
# No Path objects here: this is called for each of ten thousand files.
# ruff: noqa: PTH101, PTH108

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import sys
from contextlib import suppress
from typing import TYPE_CHECKING

from infra_tasks.releases.reading import Changing, open_to_read, read_through, stamp

if TYPE_CHECKING:
    from collections.abc import Callable

# linux/fs.h: _IOW(0x94, 9, int)
_FICLONE = 0x40049409
# sys/clonefile.h
_CLONE_NOFOLLOW = 1
# What a disk says that cannot clone, or not these two.
_NO_CLONE = {errno.EOPNOTSUPP, errno.ENOTTY, errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EPERM, errno.ETXTBSY}
# What a disk says that cannot make one more link to this file.
_NO_LINK = {errno.EMLINK, errno.EXDEV, errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS}


# What opening says when another thing has the name, or nothing; and what a disk says that has lost the content.
_NOT_THERE = {errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EISDIR, errno.ENXIO, errno.EIO}


def cannot_give(error: OSError) -> bool:
    """Say whether the tree we take from is to blame (damaged, or being removed); anything else is our own trouble."""
    return isinstance(error, Changing) or error.errno in _NOT_THERE


def cannot_link(error: OSError) -> bool:
    """Say whether the disk cannot make one more link to a file: it is copied then."""
    return error.errno in _NO_LINK


def copy_checked(source: str, target: str, mode: int, sha256: str) -> bool:
    """Copy a file into a new one with exactly this mode; False (and no file) if the content was not the one wanted.

    Raises OSError, FileExistsError if the target is there.
    """
    read_fd = open_to_read(source)
    try:
        write_fd = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
        try:
            found = read_through(read_fd, os.fstat(read_fd).st_size, _write_all(write_fd))
            os.fchmod(write_fd, mode)
        finally:
            os.close(write_fd)
    except FileExistsError:
        raise
    except BaseException:
        _drop(target)
        raise
    finally:
        os.close(read_fd)
    if found != sha256:
        _drop(target)
        return False
    return True


def _write_all(fd: int) -> Callable[[bytes], None]:
    def write(piece: bytes) -> None:
        rest = memoryview(piece)
        while rest:
            rest = rest[os.write(fd, rest) :]

    return write


def _drop(target: str) -> None:
    with suppress(FileNotFoundError):
        os.unlink(target)


def clone(source: str, target: str, mode: int) -> bool:
    """Make the target a copy that shares its blocks until one of them is written; False where the disk cannot.

    Raises Changing if the source was changed meanwhile.
    """
    before = os.lstat(source)
    made = _clone_darwin(source, target) if sys.platform == "darwin" else _clone_linux(source, target, mode)
    if not made:
        return False
    os.chmod(target, mode)
    if stamp(before) != stamp(os.lstat(source)):
        _drop(target)
        raise Changing(0, "changed while it was cloned", source)
    return True


def _clone_linux(source: str, target: str, mode: int) -> bool:
    read_fd = open_to_read(source)
    try:
        write_fd = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
        try:
            fcntl.ioctl(write_fd, _FICLONE, read_fd)
        except OSError as error:
            _drop(target)
            if error.errno in _NO_CLONE:
                return False
            raise
        finally:
            os.close(write_fd)
    finally:
        os.close(read_fd)
    return True


def _clone_darwin(source: str, target: str) -> bool:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.clonefile(os.fsencode(source), os.fsencode(target), _CLONE_NOFOLLOW) == 0:
        return True
    code = ctypes.get_errno()
    if code in _NO_CLONE:
        return False
    raise OSError(code, os.strerror(code), target)
