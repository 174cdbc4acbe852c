"""Hands a plan in as a user's program would, moment by moment, and notes what was accepted.

Takes: plan (JSON), file of effects, file to note in, module with `hand_in(item, ids, command)`. What fails is handed in
again until it is accepted: one run with the same id, so that an unknown outcome does not double it; a canvas anew.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chaos.clock import now
from chaos.plan import Item, Part

if TYPE_CHECKING:
    from collections.abc import Sequence

AGAIN_S = 0.3
EFFECT = Path(__file__).parent / "effect.py"


def command(effects: str, part: Part) -> list[str]:
    """Return the command of a run."""
    words = [",".join(map(str, part.spans)), ",".join(map(str, part.codes)), *part.habits]
    return [sys.executable, "-I", "-S", str(EFFECT), effects, *words]


class Desk:
    """Hands items in and keeps the notes."""

    def __init__(self, door: Any, effects: str, notes: int) -> None:
        self._door, self._effects, self._notes = door, effects, notes

    def take(self, item: Item) -> None:
        """Hand an item in until it is accepted."""
        ids = [str(uuid.uuid4()) for _ in item.parts]
        while True:
            since = now()
            try:
                self._door.hand_in(item, ids, [command(self._effects, part) for part in item.parts])
            except Exception as error:  # noqa: BLE001  whatever it was, a user hands it in again
                self._note(item, ids, since, sure=False, error=repr(error))
                if len(ids) > 1:
                    ids = [str(uuid.uuid4()) for _ in ids]
                time.sleep(AGAIN_S)
            else:
                self._note(item, ids, since, sure=True)
                return

    def _note(self, item: Item, ids: Sequence[str], since: float, *, sure: bool, error: str = "") -> None:
        said = {"item": item.number, "ids": ids, "sure": sure, "since": since, "at": now(), "error": error}
        os.write(self._notes, (json.dumps(said) + "\n").encode())


def main() -> int:
    """Hand in until the plan is done."""
    planned, effects, noted, door = sys.argv[1:]
    items = [Item.of(said) for said in json.loads(Path(planned).read_text())]
    notes = os.open(noted, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    desk = Desk(importlib.import_module(door), effects, notes)
    begun = now()
    for item in items:
        time.sleep(max(0.0, begun + item.at_s - now()))
        desk.take(item)
    return 0


if __name__ == "__main__":
    sys.exit(main())
