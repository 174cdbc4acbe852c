"""Finds the known word somebody most likely meant."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

CLOSE_ENOUGH = 0.6  # difflib's ratio; below it a guess confuses more than it helps
LONGEST_WORD = 64  # comparing costs the square of the length, and nobody mistypes a longer word


def nearest(word: str, known: Iterable[str]) -> str | None:
    """Return the known word nearest to `word`, or None when none is near."""
    if len(word) > LONGEST_WORD:
        return None
    plain = {_plain(each): str(each) for each in sorted(known, reverse=True)}
    found = get_close_matches(_plain(word), plain, n=1, cutoff=CLOSE_ENOUGH)
    return plain[found[0]] if found else None


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return "; did you mean 'x'?" to put behind a message, or nothing when no known word is near."""
    found = nearest(word, known)
    return f"; did you mean {found!r}?" if found else ""


def _plain(word: str) -> str:
    return word.lower().replace("-", "_")
