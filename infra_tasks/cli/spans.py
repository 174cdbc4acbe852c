"""Spans of time as people write them - 90, 90s, 10m, 1h30m - and read them. Pure."""

from __future__ import annotations

import re

UNITS_S = {"d": 86400, "h": 3600, "m": 60, "s": 1}
RULE = "seconds, or a span like 90s, 10m, 1h30m"

_SPAN = re.compile(r"(?:(\d+(?:\.\d+)?)d)?(?:(\d+(?:\.\d+)?)h)?(?:(\d+(?:\.\d+)?)m)?(?:(\d+(?:\.\d+)?)s?)?")


def seconds(text: str) -> float:
    """Return the seconds a span means. Raises ValueError when it is none, or not above 0."""
    found = _SPAN.fullmatch(text.strip().lower())
    if found is None or not any(found.groups()):
        raise ValueError(f"found {text!r}; allowed: {RULE}")
    span_s = sum(float(count) * unit for count, unit in zip(found.groups(), UNITS_S.values(), strict=True) if count)
    if span_s <= 0:
        raise ValueError(f"found {text!r}; it must be more than nothing")
    return span_s


def words(span_s: float) -> str:
    """Return a span for people, two units at most: 0.3s, 42s, 5m10s, 2h, 3d4h."""
    if span_s < 10:
        return f"{max(0.0, span_s):.1f}s"
    left, said = round(span_s), []
    for name, unit in UNITS_S.items():
        count, left = divmod(left, unit)
        if count:
            said.append(f"{count}{name}")
        if said and (len(said) == 2 or name == "s" or not count):
            break
    return "".join(said)
