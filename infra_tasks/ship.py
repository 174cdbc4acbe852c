"""The agent's side of reading along: brings output of this node to those who ask for it in the ledger.

Call `Shipper.turn()` a few times a second, and at once again when it shipped something.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from infra_tasks.ledger.output import BEGUN, MARK, Outputs, Parcel, parcel_of_offsets
from infra_tasks.runner import output
from infra_tasks.runner.attempt import Attempt
from infra_tasks.runner.beginning import offset_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from infra_tasks.ledger import Ledger
    from infra_tasks.ledger.output import Wish
    from infra_tasks.settings import Home

TURN_BYTES = 256 * 1024
PARCEL_BYTES = 64 * 1024
# So much may be under way to a reader that has not said yet that it got it: a slow one fills no memory.
UNDER_WAY_BYTES = 1024 * 1024
# When a turn has looked so long for where readers begin, the others wait for the next turn: megabytes may have to be
# read for each, and the agent renews leases in between.
LOOK_S = 0.5


@dataclass
class _Shipped:
    """How far one reader was served. `marked`: what the last mark said, and nothing was shipped since.

    `begun`: where it was told to begin.
    """

    offsets: dict[str, int] = field(default_factory=dict)
    marked: bool | None = None
    begun: Mapping[str, int] | None = None


class Shipper:
    """Ships for all readers of this node's runs, finished ones too while their folder is there."""

    def __init__(self, home: Home, ledger: Ledger, clock: Callable[[], float] = time.monotonic) -> None:
        self._home = home
        self._clock = clock
        self._looked_s = 0.0
        self._outputs = Outputs(ledger.scripts)
        self._shipped: dict[tuple[str, str, int], _Shipped] = {}

    def turn(self) -> int:
        """Ship what is asked for, at most `TURN_BYTES`; return how many bytes that were.

        Raises FleetUnreachable when Redis does not answer within a second or two; the next turn goes on from there.
        """
        wishes = [wish for wish in self._outputs.wishes() if self._is_ours(wish)]
        keys = [(wish.run, wish.reader, wish.attempt) for wish in wishes]
        self._shipped = {key: self._shipped.get(key) or _Shipped() for key in keys}
        left, self._looked_s = TURN_BYTES, 0.0
        for place, (wish, key) in enumerate(zip(wishes, keys, strict=True)):
            left -= self._serve(wish, self._shipped[key], left // (len(wishes) - place))
        return TURN_BYTES - left

    def _is_ours(self, wish: Wish) -> bool:
        """Say whether this node runs or ran the attempt: its record is written after the claim."""
        return (self._home.attempt(wish.run, wish.attempt) / "record.json").exists()

    def _serve(self, wish: Wish, shipped: _Shipped, budget: int) -> int:
        if wish.begin and not shipped.begun and self._looked_s > LOOK_S:
            return 0
        attempt = Attempt(self._home.attempt(wish.run, wish.attempt))
        over = is_over(attempt)  # looked at before reading: then nothing can come after what is read
        acknowledged = self._begun(attempt, wish, shipped) if wish.begin else wish.offsets
        at = {name: max(offset, shipped.offsets.get(name, 0)) for name, offset in acknowledged.items()}
        parcels: list[Parcel] = []
        for name, offset in acknowledged.items():
            room = offset + UNDER_WAY_BYTES - at[name]
            parcels += _parcels(attempt, wish.attempt, name, at, min(room, budget - _bytes(parcels)))
        is_news = not parcels and over != shipped.marked and self._all_read(attempt, at)
        marks = [parcel_of_offsets(wish.attempt, MARK, at, over=over)] if is_news else []
        begun = [parcel_of_offsets(wish.attempt, BEGUN, acknowledged)] if wish.begin and not shipped.begun else []
        if begun or parcels or marks:
            self._outputs.put(wish.run, wish.reader, begun + parcels + marks)
            shipped.offsets, shipped.begun = at, acknowledged
            shipped.marked = over if marks else None if parcels else shipped.marked
        return _bytes(parcels)

    def _begun(self, attempt: Attempt, wish: Wish, shipped: _Shipped) -> Mapping[str, int]:
        """Return where a reader begins that does not know it yet."""
        if shipped.begun or wish.begin is None:
            return shipped.begun or wish.offsets
        began = self._clock()
        found = {name: offset_of(attempt.folder, name, wish.begin) for name in wish.offsets}
        self._looked_s += self._clock() - began
        return self._outputs.settle(wish, found)

    @staticmethod
    def _all_read(attempt: Attempt, at: dict[str, int]) -> bool:
        return all(output.size(attempt.folder, name) <= offset for name, offset in at.items())


def is_over(attempt: Attempt) -> bool:
    """Say whether no more output can come: the attempt has ended, or nobody minds it any more."""
    return attempt.exit_record() is not None or not attempt.is_locked()


def _parcels(attempt: Attempt, number: int, name: str, at: dict[str, int], most: int) -> list[Parcel]:
    """Read at most `most` bytes from where this reader stands, and move it on in `at`."""
    parcels: list[Parcel] = []
    while most > 0:
        chunk = output.read(attempt.folder, name, at[name], min(PARCEL_BYTES, most))
        if not chunk.data:
            break
        parcels.append(Parcel(number, name, at[name], chunk.offset, chunk.data))
        at[name] = chunk.next_offset
        most -= len(chunk.data)
    return parcels


def _bytes(parcels: Sequence[Parcel]) -> int:
    return sum(len(parcel.data) for parcel in parcels)
