"""A name of a file as text: whatever bytes it has, on one line, and nothing in it that a terminal would obey. Pure."""

from __future__ import annotations

import os


def path_text(path: str) -> str:
    r"""Return a path as it can be shown: line breaks, control characters and what is no UTF-8 become \n, \x1b, \xff."""
    text = utf8_text(path)
    return text if text.isprintable() else "".join(sign if sign.isprintable() else _spelt(sign) for sign in text)


def utf8_text(path: str) -> str:
    r"""Return a path as JSON can carry it: bytes that are no UTF-8 become \xff."""
    try:
        return os.fsencode(path).decode("utf-8", "backslashreplace")
    except UnicodeEncodeError:  # half of a character: no file has such a name, but who knows what somebody typed
        return path.encode("utf-8", "backslashreplace").decode()


def harmless(text: str) -> str:
    """Return text of several lines in which nothing is left that a terminal would obey."""
    return "\n".join(path_text(line) for line in text.split("\n"))


def _spelt(sign: str) -> str:
    return sign.encode("unicode_escape").decode()
