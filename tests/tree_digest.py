"""The digest of a folder, written anew from its definition: what a command sees is held against the name it was given.

Uses nothing of the project and is a program of its own (`tree_digest.py [FOLDER]`), so that runs can carry it along.
"""

# A program of its own, over names that may be no UTF-8.
# ruff: noqa: PTH114, PTH115, PTH118, PTH123, T201

from __future__ import annotations

import hashlib
import os
import sys


def digest_of(folder: str | os.PathLike[str]) -> str:
    """Return sha256 over kind, mode, path and content (or target) of all files and links, by path."""
    top = os.fsencode(folder)
    found = []
    for here, folders, files in os.walk(top):
        for name in files + [one for one in folders if os.path.islink(os.path.join(here, one))]:
            full = os.path.join(here, name)
            found.append((os.fsdecode(os.path.relpath(full, top)), full))
    whole = hashlib.sha256(b"infra_tasks manifest 1\0")
    for path, full in sorted(found):
        if os.path.islink(full):
            kind, mode, rest = b"link", b"755", os.readlink(full)
        else:
            kind, mode, rest = b"file", b"755" if os.lstat(full).st_mode & 0o100 else b"644", _content(full)
        whole.update(b"\0".join([kind, mode, os.fsencode(path), rest, b""]))
    return whole.hexdigest()


def _content(path: bytes) -> bytes:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest().encode()


if __name__ == "__main__":
    print(digest_of(sys.argv[1] if len(sys.argv) > 1 else "."))
