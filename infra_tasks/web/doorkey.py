"""A key that opens the window once: `infra open` makes it, the flower role takes it.

On disk there is only its digest, as the name of an empty file whose time says when it was made.
"""

from __future__ import annotations

import os
from hashlib import sha256
from hmac import compare_digest
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from infra_tasks.settings import Home

LIFE_S = 60.0
DOOR = "/open"


def new_key(home: Home, now: float) -> str:
    """Make a key that opens for LIFE_S; `now` in wall seconds."""
    from secrets import token_urlsafe  # noqa: PLC0415  brings OpenSSL along

    key = token_urlsafe(32)
    folder = _folder(home)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    _good(home, now)
    fd = os.open(folder / _digest(key), os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        os.utime(fd, (now, now))
    finally:
        os.close(fd)
    return key


def take_key(home: Home, key: str, now: float) -> bool:
    """Say whether this key opens. It never does again; a wrong one changes nothing for the good ones."""
    wanted = _digest(key)
    # All are compared: how long it takes tells nothing.
    found = [path for path in _good(home, now) if compare_digest(path.name, wanted)]
    return bool(found) and _is_ours_to_take(found[0])


def _good(home: Home, now: float) -> list[Path]:
    """Return the keys that open still, and remove the others."""
    try:
        kept = sorted(_folder(home).iterdir())
    except FileNotFoundError:
        return []
    good = [path for path in kept if not _is_stale(path, now)]
    for path in set(kept) - set(good):
        path.unlink(missing_ok=True)
    return good


def _is_stale(path: Path, now: float) -> bool:
    """Say whether its time is over; one made in the future (the clock went back) is worth as little."""
    try:
        return not 0 <= now - path.stat().st_mtime <= LIFE_S
    except FileNotFoundError:
        return True


def _is_ours_to_take(path: Path) -> bool:
    """Of several who use it at once, who removes the file has it."""
    try:
        path.unlink(missing_ok=False)
    except FileNotFoundError:
        return False
    return True


def _digest(key: str) -> str:
    return sha256(key.encode(errors="replace")).hexdigest()


def _folder(home: Home) -> Path:
    return home.root / "flower" / "keys"
