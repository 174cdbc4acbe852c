"""Text in columns: broken between words where it is too wide. Wide characters (CJK, emoji) take two columns. Pure."""

from __future__ import annotations


def wrapped(text: str, columns: int) -> list[str]:
    """Return text as lines of at most so many columns; a word that is wider is broken. Never empty."""
    from rich.cells import cell_len, chop_cells  # noqa: PLC0415

    lines: list[str] = []
    for word in text.split():
        if lines and cell_len(f"{lines[-1]} {word}") <= columns:
            lines[-1] += f" {word}"
        else:
            lines += chop_cells(word, columns)
    return lines or [""]
