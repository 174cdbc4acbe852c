"""Pieces of a stream become whole lines. Pure."""

from __future__ import annotations

LONGEST_LINE_BYTES = 16 * 1024  # a longer one comes in parts: it must not fill the memory, nor be waited for


class WholeLines:
    """Pieces of one stream become whole lines."""

    def __init__(self, longest_bytes: int = LONGEST_LINE_BYTES) -> None:
        self._rest = b""
        self._longest = longest_bytes

    def add(self, data: bytes) -> list[bytes]:
        """Return the lines that are whole now, without their ends; of one that is too long the parts so far."""
        *whole, self._rest = (self._rest + data).split(b"\n")
        lines = [part for line in whole for part in self._parts(line)]
        *parts, self._rest = self._parts(self._rest)
        return lines + parts

    def end(self) -> list[bytes]:
        """Return the last line, if it has no end."""
        rest, self._rest = self._rest, b""
        return [rest] if rest else []

    def _parts(self, line: bytes) -> list[bytes]:
        parts = []
        while len(line) > self._longest:
            at = _character_start(line, self._longest)
            parts.append(line[:at])
            line = line[at:]
        return [*parts, line]


def _character_start(data: bytes, at: int) -> int:
    """Return the last place up to `at` where a UTF-8 character begins (RFC 3629: at most three bytes 10xxxxxx)."""
    start = at
    while start > max(1, at - 3) and data[start] & 0xC0 == 0x80:
        start -= 1
    return start if data[start] & 0xC0 != 0x80 else at
