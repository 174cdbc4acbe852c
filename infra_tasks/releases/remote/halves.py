"""What there is of files that rsync has not finished: `.name.XXXXXX` beside the place of each."""

from __future__ import annotations

import re
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

_HALF = re.compile(r"\.(.+)\.[A-Za-z0-9]{6,12}", re.DOTALL)


def halves(tree: Path, paths: Sequence[str]) -> Iterator[tuple[str, Path]]:
    """Yield what there is of files rsync has not finished: each path with its `.name.XXXXXX`."""
    asked: dict[str, set[str]] = {}
    for path in paths:
        folder, _, name = path.rpartition("/")
        asked.setdefault(folder, set()).add(name)
    for folder, wanted in asked.items():
        with suppress(FileNotFoundError):
            for item in list((tree / folder).iterdir()):
                if (like := _HALF.fullmatch(item.name)) and like[1] in wanted:
                    yield f"{folder}/{like[1]}".lstrip("/"), item
