"""What the result of a run says of its outputs. Pure.

files, count, size_bytes    what there is: {path, size_bytes, sha256} of the first `MOST_LISTED`; all are counted
missing                     the patterns nothing was found for
left_out                    what is meant and could not be taken: {path, why}
node, home, folder          where they were made; where they are wanted; the folder there
brought                     they are in that folder
error                       what went wrong, or None
"""

from __future__ import annotations

import json
from itertools import accumulate
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

# A result lives in Redis, twice: the whole list is in outputs.json beside the folder.
MOST_LISTED = 1000
MOST_LISTED_BYTES = 128 * 1024
MOST_LEFT_OUT_BYTES = 16 * 1024


def told(listed: Mapping[str, Any], *, home: str, folder: str, brought: bool, error: str | None) -> dict[str, Any]:
    """Return the value of a result's `outputs`."""
    files = listed["files"]
    return {
        "files": _first(files, MOST_LISTED_BYTES),
        "count": len(files),
        "size_bytes": sum(one["size_bytes"] for one in files),
        "missing": listed["missing"],
        "left_out": _first(listed["left_out"], MOST_LEFT_OUT_BYTES),
        "node": listed["node"],
        "home": home,
        "folder": folder,
        "brought": brought,
        "error": listed["error"] or error,
    }


def _first(entries: Sequence[Mapping[str, Any]], most_bytes: int) -> list[Mapping[str, Any]]:
    """Return as many as a result can hold."""
    sizes = accumulate(len(json.dumps(one)) for one in entries[:MOST_LISTED])
    return [one for one, size in zip(entries, sizes, strict=False) if size <= most_bytes]
