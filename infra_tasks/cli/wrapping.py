"""Text in columns: broken between words where it is too wide. Wide characters (CJK, emoji) take two columns. Pure."""

from __future__ import annotations


def wrapped(text: str, columns: int) -> list[str]:
    """Return text as lines of at most so many columns (2 at least); a word that is wider is broken. Never empty."""
    from rich.cells import cell_len  # noqa: PLC0415

    lines: list[str] = []
    for word in text.split():
        if lines and cell_len(f"{lines[-1]} {word}") <= columns:
            lines[-1] += f" {word}"
        else:
            lines += _broken(word, columns)
    return lines or [""]


def _broken(word: str, columns: int) -> list[str]:
    from rich.cells import cell_len  # noqa: PLC0415

    pieces = [""]
    for sign in word:
        if cell_len(pieces[-1] + sign) > columns:
            pieces.append("")
        pieces[-1] += sign
    return pieces
