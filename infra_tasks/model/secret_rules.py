"""What may be a secret: its name, its length. Needs nothing, so that a command line has it at once."""

from __future__ import annotations

import re

NAME_RULE = "letters, digits and . _ -, beginning with a letter or digit, at most 63 characters"
NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$"
# A shorter one cannot be masked: it is part of too many words.
LEAST_CHARACTERS = 4
# One variable on Linux holds 128 KiB; keys and certificates are far below this.
MOST_BYTES = 32 * 1024

_NAME = re.compile(NAME_PATTERN.strip("^$"))


def is_secret_name(text: str) -> bool:
    """Say whether a text can be the name of a secret."""
    return bool(_NAME.fullmatch(text))


def value_complaint(value: str) -> str | None:
    """Return why a value cannot be used as a secret; the value itself is not in it."""
    if len(value) < LEAST_CHARACTERS:
        return f"is shorter than {LEAST_CHARACTERS} characters and could not be masked in what a command writes"
    if "\0" in value:
        return "holds a NUL byte, which no environment can carry"
    try:
        size_bytes = len(value.encode(errors="surrogateescape"))
    except UnicodeEncodeError:
        return "holds half a character (\\ud800 to \\udfff), which no environment can carry"
    return f"is longer than {MOST_BYTES} bytes" if size_bytes > MOST_BYTES else None
