"""Sizes as people write them: 2G, 1.5GiB, 512M, 1073741824. Pure."""

from __future__ import annotations

import re

RULE = "bytes, or a size like 512M, 2G, 1.5GiB (1K = 1024 bytes)"

_SIZE = re.compile(r"(\d{1,18}(?:\.\d{1,9})?) ?(?:([kmgt])i?)?b?", re.IGNORECASE)
_POWERS = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4}


def size_bytes(text: str) -> int:
    """Return the bytes a size means. Raises ValueError when it is none, or not above 0."""
    found = _SIZE.fullmatch(text.strip())
    if found is None:
        raise ValueError(f"found {text!r}; allowed: {RULE}")
    size = int(float(found[1]) * 1024 ** _POWERS[(found[2] or "").lower()])
    if size <= 0:
        raise ValueError(f"found {text!r}; it must be more than nothing")
    return size
