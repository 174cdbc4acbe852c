"""Brings output of one attempt to a reader: from this node's disk, or through the ledger from the node that has it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol
from uuid import uuid4

from infra_tasks.ledger.output import BEGUN, MARK, Outputs, Wish, offsets_in
from infra_tasks.runner import output
from infra_tasks.runner.beginning import offset_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from infra_tasks.ledger import Ledger
    from infra_tasks.ledger.output import Parcel
    from infra_tasks.model.begin import Begin
    from infra_tasks.settings import Home

PIECE_BYTES = 64 * 1024
# Asking anew: well within the time after which a wish is forgotten.
ASK_EVERY_S = 2.0
# A box that stayed empty for this long is replaced by another one: a parcel may have got lost with an answer.
BOX_EMPTY_S = 4.0


@dataclass(frozen=True)
class Piece:
    """Some output of one attempt, in order within its stream."""

    stream: str
    attempt: int
    offset: int
    data: bytes


@dataclass(frozen=True)
class Gap:
    """Output that cannot be had: dropped because it was above the cap, or (`end` is None) its node does not send it."""

    stream: str
    attempt: int
    offset: int
    end: int | None


@dataclass
class Place:
    """How far somebody has read one attempt: the first byte of each stream that is not there yet.

    `begin`: where it begins is not settled yet, and the offsets only name the streams.
    """

    attempt: int
    offsets: dict[str, int]
    begin: Begin | None = None
    id: str = field(default_factory=lambda: uuid4().hex[:12])

    def settle(self, offsets: Mapping[str, int]) -> None:
        """Begin there, for good."""
        self.offsets.update(offsets)
        self.begin = None


class Carrier(Protocol):
    """Brings output of one attempt. `read_all`: the last `read` came to the end; `read_out`: nothing more can come."""

    read_all: bool
    read_out: bool

    def read(self, place: Place) -> list[Piece | Gap]:
        """Return what there is from `place` on, and move it."""


class Disk:
    """Reads the attempt's folder on this node."""

    def __init__(self, home: Home, run_id: str, attempt: int) -> None:
        self._folder = home.attempt(run_id, attempt)
        self.read_all = self.read_out = False

    def read(self, place: Place) -> list[Piece | Gap]:
        """Read a piece of every stream."""
        if place.begin is not None:
            begin = place.begin
            place.settle({stream: offset_of(self._folder, stream, begin) for stream in place.offsets})
        found: list[Piece | Gap] = []
        for stream, offset in place.offsets.items():
            chunk = output.read(self._folder, stream, offset, PIECE_BYTES)
            if chunk.data:
                found += _joined(stream, place.attempt, offset, chunk.offset, chunk.data)
                place.offsets[stream] = chunk.next_offset
        # Whether more can come is the ledger's word, and it was asked before the disk was read.
        self.read_all = self.read_out = not found
        return found


class Post:
    """Has the output sent through the ledger by the agent of the node that has it."""

    def __init__(self, ledger: Ledger, run_id: str, clock: Callable[[], float]) -> None:
        self.read_all = self.read_out = False
        self.heard_at = clock()
        self._outputs = Outputs(ledger.scripts)
        self._run, self._clock = run_id, clock
        self._reader = ""
        self._told: Wish | None = None
        self._told_at = self._began_at = self.heard_at

    def read(self, place: Place) -> list[Piece | Gap]:
        """Say what is wanted, and open what came."""
        now = self._clock()
        self._ask(place, now)
        found: list[Piece | Gap] = []
        for parcel in self._outputs.take(self._run, self._reader):
            self.heard_at = now
            found += self._open(parcel, place)
            if not self._reader:  # one before it got lost: what comes behind says nothing
                break
        return found

    def leave(self, place: Place | None) -> None:
        """Ask no more. `place`: nor will anybody else who reads there."""
        if self._reader:
            self._outputs.leave(self._run, self._reader, place.id if place else "")
            self._reader = ""

    def _ask(self, place: Place, now: float) -> None:
        if not self._reader or now - max(self.heard_at, self._began_at) > BOX_EMPTY_S:
            self._take_another_box(now)
        wish = Wish(self._run, self._reader, place.attempt, dict(place.offsets), place.begin, place.id)
        if self._told != wish or now - self._told_at >= ASK_EVERY_S:
            self._outputs.ask(wish)
            self._told, self._told_at = wish, now

    def _take_another_box(self, now: float) -> None:
        self.leave(None)
        self._reader, self._told, self._began_at = uuid4().hex[:12], None, now

    def _open(self, parcel: Parcel, place: Place) -> list[Piece | Gap]:
        self.read_all = self.read_out = False
        if parcel.stream == BEGUN:
            if place.begin is not None:
                place.settle(offsets_in(parcel))
        elif place.begin is not None:
            self._lost_one()
        elif parcel.stream == MARK:
            self._mark(parcel, place)
        elif parcel.stream in place.offsets:
            return self._take(parcel, place)
        return []

    def _take(self, parcel: Parcel, place: Place) -> list[Piece | Gap]:
        here, end = place.offsets[parcel.stream], parcel.offset + len(parcel.data)
        if parcel.after > here:
            self._lost_one()
        if end <= here or parcel.after > here:
            return []
        begin = max(parcel.offset, here)
        place.offsets[parcel.stream] = end
        return _joined(parcel.stream, place.attempt, here, begin, parcel.data[begin - parcel.offset :])

    def _mark(self, parcel: Parcel, place: Place) -> None:
        if any(place.offsets.get(stream, 0) < offset for stream, offset in offsets_in(parcel).items()):
            self._lost_one()
        else:
            self.read_all, self.read_out = True, parcel.over

    def _lost_one(self) -> None:
        """Take another box: the node begins there with what we say we have."""
        self._reader = ""


def _joined(stream: str, attempt: int, here: int, begin: int, data: bytes) -> list[Piece | Gap]:
    """Return data that begins at `begin` to somebody who has read up to `here`."""
    piece = Piece(stream, attempt, begin, data)
    return [Gap(stream, attempt, here, begin), piece] if begin > here else [piece]
