"""What the doctor found: how it is, and what to do if it is not well."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any


class Level(StrEnum):
    """How well something is. A warning does not change the exit code."""

    OK = "ok"
    WARNING = "warning"
    BAD = "bad"


@dataclass(frozen=True)
class Finding:
    """One thing looked at. `node`: which one it is about, empty for the fleet; `cure`: a command, or what to do."""

    check: str
    level: Level
    found: str
    cure: str = ""
    node: str = ""

    def as_json(self) -> dict[str, Any]:
        """Return it for --json; what there is not, is null."""
        return {name: value or None for name, value in asdict(self).items()}


def ok(check: str, found: str) -> Finding:
    """Return what is well."""
    return Finding(check, Level.OK, found)


def warning(check: str, found: str, cure: str) -> Finding:
    """Return what works, and may cost something some day."""
    return Finding(check, Level.WARNING, found, cure)


def bad(check: str, found: str, cure: str) -> Finding:
    """Return what does not work, or loses something."""
    return Finding(check, Level.BAD, found, cure)
