"""Finds where a reader of this disk begins. It looks back over what was kept, not over what was dropped."""

from __future__ import annotations

from typing import TYPE_CHECKING

from infra_tasks.runner import output
from infra_tasks.runner.moments import written_after

if TYPE_CHECKING:
    from pathlib import Path

    from infra_tasks.model.begin import Begin

LOOKED_BACK_BYTES = 64 * 1024 * 1024


def offset_of(folder: Path | str, stream: str, begin: Begin) -> int:
    """Return the offset of the first byte that is wanted; the end of what there is now when nothing of it is."""
    offsets = [0]
    if begin.since is not None:
        # The size first: what is written meanwhile has its moment noted, and is found by it.
        offsets.append(written_after(folder, stream, begin.since, end=output.size(folder, stream)))
    if begin.tail is not None:
        offsets.append(last_lines(folder, stream, begin.tail))
    return max(offsets)


def last_lines(folder: Path | str, stream: str, lines: int, most_bytes: int = LOOKED_BACK_BYTES) -> int:
    """Return where the last lines begin, an unfinished one counted; fewer when they do not fit in `most_bytes`.

    Where output was dropped, a line ends.
    """
    if lines == 0:
        return output.size(folder, stream)
    left, begin = lines, None
    for start, data in output.backwards(folder, stream, most_bytes):
        end = start + len(data)
        if begin is not None and end < begin:
            left -= 1
            if left == 0:
                return begin
        # The line end that stands last of all ends the line that is counted anyway.
        upto = len(data) if end == begin else len(data) - 1
        ends = data.count(b"\n", 0, upto)
        if ends >= left:
            return start + _line_end(data, left, upto) + 1
        left, begin = left - ends, start
    return begin or 0


def _line_end(data: bytes, number: int, upto: int) -> int:
    """Return where the so manieth line end from the right stands; there are that many."""
    at = upto
    for _ in range(number):
        at = data.rfind(b"\n", 0, at)
    return at
