"""Masks secrets: in what a command writes (a stream in pieces), in errors, events and lines of logs. Pure.

Looked for are a value as it is, its lines, and how JSON, URLs and base64 write it. Where occurrences overlap, all they
cover is masked. A stream holds back only what may be the beginning of a secret, at most its length less one byte.
"""

from __future__ import annotations

import binascii
import json
import re
from typing import TYPE_CHECKING

from infra_tasks.model.secret_rules import LEAST_CHARACTERS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    Span = tuple[int, int]

MASK = b"***"
# What is a part of the secret only (a line, base64 between other bytes) must have this length to be told from words.
LEAST_PART_BYTES = 8
# Base64 of longer values is left out: they are keys in text form, whose lines are looked for.
LONGEST_BASE64_BYTES = 4096
# The beginning of a secret is looked for at the end of a piece by so many bytes of it at once.
HEAD_BYTES = 8

# Looked for where a word begins, and once in each: a megabyte without a blank is not gone through a million times.
_WORD_WITH_AT = re.compile(r"(?<!\S)\S*@")
_LOGIN = re.compile(r"(?<![^\s/@])[^\s/@:]*:[^\s/@]*@")  # also in a URL that is mistyped
_BESIDE_BASE64 = (0, 2, 3)
"""Characters at the start that also depend on what stands before the value, by its place among three bytes."""
_UNRESERVED = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")  # RFC 3986, 2.3


class Redactor:
    """Knows some secrets. Without any it changes nothing."""

    def __init__(self, values: Iterable[str]) -> None:
        self._needles = Needles(form for value in values for form in _forms(value))

    def text(self, text: str) -> str:
        """Return a text without the secrets."""
        raw = text.encode(errors="surrogateescape")
        present = self._needles.present_in(raw)
        return self._needles.masked(raw, present).decode(errors="surrogateescape") if present else text

    def stream(self) -> MaskedStream:
        """Return what masks one stream."""
        return MaskedStream(self._needles)


class Needles:
    """What is looked for, the longest first, prepared so that a short piece of text costs microseconds."""

    def __init__(self, needles: Iterable[bytes]) -> None:
        self.all = sorted(set(needles), key=lambda needle: (-len(needle), needle))
        self._short = frozenset(one[:length] for one in self.all for length in range(1, min(HEAD_BYTES, len(one))))
        self._longest_short = max(map(len, self._short), default=0)
        self._long = [(one[:HEAD_BYTES], one) for one in self.all if len(one) > HEAD_BYTES]
        self._overlapping: dict[tuple[bytes, bytes], bool] = {}

    def present_in(self, whole: bytes) -> tuple[bytes, ...]:
        """Return those that occur in a text."""
        return tuple([needle for needle in self.all if needle in whole])

    def begun_in(self, whole: bytes) -> int:
        """Return the length of the longest end of a text that one begins with, and that is not all of it."""
        longest = 0
        for head, needle in self._long:
            longest = max(longest, _begun(whole, head, needle))
        if longest:
            return longest
        for length in range(min(self._longest_short, len(whole)), 0, -1):
            if whole[-length:] in self._short:
                return length
        return 0

    def masked(self, whole: bytes, present: tuple[bytes, ...]) -> bytes:
        """Return a text with a mask in place of these."""
        if self.may_overlap(present):
            return _cut(whole, list(_spans(whole, present)), 0, len(whole))
        return _replaced(whole, present)

    def may_overlap(self, present: tuple[bytes, ...]) -> bool:
        """Say whether an occurrence of one can begin inside another one and end behind it."""
        return any(self._overlaps(one, other) for one in present for other in present)

    def _overlaps(self, one: bytes, other: bytes) -> bool:
        """Say whether `one` ends as `other` begins."""
        if (one, other) not in self._overlapping:
            self._overlapping[one, other] = Needles([other]).begun_in(one) > 0
        return self._overlapping[one, other]


class MaskedStream:
    """One stream in pieces: bytes in, bytes out, what may be the beginning of a secret held back."""

    def __init__(self, needles: Needles) -> None:
        self._needles = needles
        self._tail = b""
        self._out = 0  # so many bytes of the tail are out already, as they are or masked

    def feed(self, data: bytes) -> bytes:
        """Return what can be told of the stream now that `data` has come."""
        whole = self._tail + data if self._tail else data
        present = self._needles.present_in(whole)
        begin = len(whole) - self._needles.begun_in(whole)
        if self._out or (present and (self._needles.may_overlap(present) or _lies_across(whole, begin, present))):
            return self._told(whole, present, begin)
        self._tail = whole[begin:]
        return _replaced(whole[:begin], present)

    def idle(self) -> bytes:
        """Return the little that is held when nothing more comes for a moment: too little to give a secret away."""
        if self._out == len(self._tail) or len(self._tail) >= LEAST_CHARACTERS:
            return b""
        rest, self._out = self._tail[self._out :], len(self._tail)
        return rest

    def end(self) -> bytes:
        """Return what is held when nothing more will come; the greater part of a secret is masked as a whole one."""
        whole, out = self._tail, self._out
        self._tail, self._out = b"", 0
        if any(needle.startswith(whole) and 2 * len(whole) >= len(needle) for needle in self._needles.all):
            return MASK if out < len(whole) else b""
        return _cut(whole, list(_spans(whole, self._needles.present_in(whole))), out, len(whole))

    def _told(self, whole: bytes, present: tuple[bytes, ...], begin: int) -> bytes:
        """Mask what is complete, from where the stream is out already on; what stands from `begin` on may go on."""
        spans = list(_spans(whole, present))
        until = max(begin, self._out, *(span_end for span_begin, span_end in spans if span_begin < begin))
        told = _cut(whole, [span for span in spans if span[0] < until], self._out, until)
        self._tail, self._out = whole[begin:], until - begin
        return told


def without_logins(text: str) -> str:
    """Return a text whose URLs show no user and password."""
    return _WORD_WITH_AT.sub(_without_login, text) if "@" in text else text


def _without_login(found: re.Match[str]) -> str:
    before, slashes, login = found[0].partition("//")
    return _LOGIN.sub("***@", before) + slashes + ("***@" if login else "")


def _forms(value: str) -> Iterator[bytes]:
    """Give all that a value is looked for as."""
    raw = value.encode(errors="surrogateescape")
    if len(value) < LEAST_CHARACTERS:
        return
    yield raw
    yield from (line for line in map(bytes.strip, raw.splitlines()) if len(line) >= LEAST_PART_BYTES)
    yield json.dumps(value)[1:-1].encode()
    yield json.dumps(value, ensure_ascii=False)[1:-1].encode(errors="surrogateescape")
    yield b"".join(b"%c" % byte if byte in _UNRESERVED else b"%%%02X" % byte for byte in raw)
    if len(raw) <= LONGEST_BASE64_BYTES:
        yield from _in_base64(raw)


def _in_base64(raw: bytes) -> Iterator[bytes]:
    """Give what base64 of anything that holds the value must hold, for each of its places among three bytes."""
    for place, beside in enumerate(_BESIDE_BASE64):
        text = binascii.b2a_base64(bytes(place) + raw, newline=False)
        needle = text[beside : (place + len(raw)) * 8 // 6]
        if len(needle) >= LEAST_PART_BYTES:
            yield needle
            yield needle.replace(b"+", b"-").replace(b"/", b"_")


def _replaced(whole: bytes, present: Sequence[bytes]) -> bytes:
    """Mask occurrences that cannot overlap; the longest first, as others may be inside it."""
    for needle in present:
        whole = whole.replace(needle, MASK)
    return whole


def _lies_across(whole: bytes, border: int, present: Sequence[bytes]) -> bool:
    """Say whether an occurrence begins before a place and ends behind it."""
    return border < len(whole) and any(
        needle in whole[max(0, border - len(needle) + 1) : border + len(needle) - 1] for needle in present
    )


def _spans(whole: bytes, present: Sequence[bytes]) -> Iterator[Span]:
    """Give what occurrences cover, in order; those that overlap as one."""
    if not present:
        return
    search = re.compile(b"|".join(map(re.escape, present))).search
    begin = end = -1
    found = search(whole)
    while found:
        if found.start() >= end:
            if end > 0:
                yield begin, end
            begin = found.start()
        end = max(end, found.end())
        found = search(whole, found.start() + 1)
    yield begin, end


def _cut(whole: bytes, spans: Sequence[Span], first: int, until: int) -> bytes:
    """Return `whole` from `first` to `until` with a mask in place of each span."""
    parts, at = [], first
    for begin, end in spans:
        if end > first:
            parts += [whole[at : max(at, begin)], MASK]
            at = end
    return b"".join([*parts, whole[at:until]])


def _begun(whole: bytes, head: bytes, needle: bytes) -> int:
    """Return the length of the end of `whole` that `needle` begins with, if it holds all of its `head`; else 0."""
    end = len(whole)
    at = whole.find(head, max(0, end - len(needle) + 1))
    while at >= 0:
        if needle.startswith(whole[at:]):
            return end - at
        at = whole.find(head, at + 1)
    return 0
