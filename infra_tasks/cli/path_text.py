"""A name of a file as text: whatever bytes it has, on one line, and nothing in it that a terminal would obey. Pure."""

from __future__ import annotations

import os


def path_text(path: str) -> str:
    r"""Return a path as it can be shown: line breaks, control characters and what is no UTF-8 become \n, \x1b, \xff."""
    text = utf8_text(path)
    return text if text.isprintable() else "".join(sign if sign.isprintable() else _spelt(sign) for sign in text)


def utf8_text(path: str) -> str:
    r"""Return a path as JSON can carry it: bytes that are no UTF-8 become \xff."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def _spelt(sign: str) -> str:
    return sign.encode("unicode_escape").decode()
