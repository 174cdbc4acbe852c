"""What the parties of a storm noted: what was accepted, what the commands did, when runs were seen final."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from chaos.plan import Item, Part


class Note(NamedTuple):
    """One line of a command. `what`: start, alive or end; `at`: seconds of `chaos.clock`; `code`: of an end.

    `release`: the digest it was given, `tree`: that of the code it found; both of a start.
    """

    what: str
    run: str
    attempt: int
    token: str
    node: str
    at: float
    pid: int
    code: int | None = None
    release: str = ""
    tree: str = ""


class End(NamedTuple):
    """What the system under test says of a run. `token` "": it keeps none."""

    state: str
    token: str = ""
    reason: str = ""
    release: str = ""


@dataclass(frozen=True)
class Handed:
    """An item with the ids of its runs. `sure`: the system said yes; else nobody knows, and it was handed in anew.

    It was handed in from `since` on, and accepted `at`.
    """

    item: Item
    ids: tuple[str, ...]
    sure: bool
    at: float
    since: float = 0.0

    def runs(self) -> Iterator[tuple[str, Part]]:
        """Its runs, each with what it was asked to do."""
        yield from zip(self.ids, self.item.parts, strict=True)


@dataclass(frozen=True)
class Seen:
    """The first final state of a run that the witness saw, and when."""

    end: End
    at: float


@dataclass(frozen=True)
class Story:
    """Everything the checker reads."""

    handed: tuple[Handed, ...]
    notes: tuple[Note, ...]
    ends: dict[str, End | None]
    seen: dict[str, Seen] = field(default_factory=dict)
    slots: dict[str, int] = field(default_factory=dict)
    unfinished: tuple[str, ...] = ()
    living: tuple[str, ...] = ()
    audit: tuple[str, ...] = ()
    consumed_after_s: dict[str, float | None] = field(default_factory=dict)


def read_notes(file: Path) -> tuple[Note, ...]:
    """Return what the commands noted; a line that was cut off by a full disk is left out."""
    found = []
    for line in _lines(file):
        try:
            said = json.loads(line)
        except ValueError:
            continue
        found.append(Note(**said))
    return tuple(found)


def read_handed(file: Path, items: list[Item]) -> tuple[Handed, ...]:
    """Return what was handed in, as far as it went."""
    by_number = {one.number: one for one in items}
    said = [json.loads(line) for line in _lines(file)]
    return tuple(
        Handed(by_number[one["item"]], tuple(one["ids"]), one["sure"], one["at"], one["since"]) for one in said
    )


def _lines(file: Path) -> list[str]:
    if not file.exists():
        return []
    text = file.read_text()
    return text[: text.rfind("\n") + 1].splitlines()
