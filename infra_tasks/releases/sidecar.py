"""Small files beside the trees: written beside and then renamed; caches that are empty whenever they are not right."""

from __future__ import annotations

import hashlib
import marshal
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

# marshal is a tenth of the time of JSON for ten thousand rows. It differs between Python versions and must not read
# damaged bytes, so the version and a checksum come first.
_HEAD = f"infra_tasks cache 2 {sys.version_info.major}.{sys.version_info.minor}\n".encode()
_SUM_BYTES = 16


def write(path: Path, data: bytes, *, durable: bool = False) -> None:
    """Put a whole file in place at once; with `durable` it is on the disk when this returns."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fd, beside = tempfile.mkstemp(prefix=f".{path.name[:40]}.", suffix=".new", dir=path.parent)
    try:
        with open(fd, "wb") as file:  # noqa: PTH123  the fd is the file
            file.write(data)
            file.flush()
            if durable:
                os.fsync(fd)
        Path(beside).replace(path)
    except BaseException:
        Path(beside).unlink(missing_ok=True)
        raise


def read(path: Path) -> bytes | None:
    """Return the content, None if there is no such file."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None


def write_cache(path: Path, value: Any) -> None:
    """Keep a value of plain types."""
    body = marshal.dumps(value)
    write(path, _HEAD + _sum(body) + body)


def read_cache(path: Path) -> Any | None:
    """Return what was kept; None if there is nothing, or nothing that this Python wrote whole."""
    data = read(path)
    if data is None or not data.startswith(_HEAD):
        return None
    told, body = data[len(_HEAD) : len(_HEAD) + _SUM_BYTES], memoryview(data)[len(_HEAD) + _SUM_BYTES :]
    return marshal.loads(body) if told == _sum(body) else None  # noqa: S302  the checksum says that we wrote it


def _sum(body: bytes | memoryview) -> bytes:
    # Where the processor helps, sha256 is the fastest there is.
    return hashlib.sha256(body).digest()[:_SUM_BYTES]
