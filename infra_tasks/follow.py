"""Reads the output of a run along: from this node's disk, or by way of the ledger from the node that has it."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol
from uuid import uuid4

from infra_tasks.errors import BadInput, FleetUnreachable, UnknownRun
from infra_tasks.ledger.output import MARK, Outputs, Wish
from infra_tasks.model.run import State, is_final
from infra_tasks.runner import output

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from infra_tasks.ledger import Ledger
    from infra_tasks.ledger.output import Parcel
    from infra_tasks.settings import Home

STREAMS = ("stdout", "stderr")
PIECE_BYTES = 64 * 1024
FIRST_PAUSE_S = 0.02
LONGEST_PAUSE_S = 0.2
# Asking anew: well within the time after which a wish is forgotten.
ASK_EVERY_S = 2.0
# A box that stayed empty for this long is replaced by another one: a parcel may have got lost with an answer.
BOX_EMPTY_S = 4.0
# How long the node may keep silent about output that must be there.
NODE_SILENT_S = 10.0


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


class _Carrier(Protocol):
    """Brings output of one attempt. `read_all`: the last `read` came to the end; `read_out`: nothing more can come."""

    read_all: bool
    read_out: bool

    def read(self, offsets: dict[str, int]) -> list[Piece | Gap]:
        """Return what there is from `offsets` on, and move them."""


class _Disk:
    """Reads the attempt's folder on this node."""

    def __init__(self, home: Home, run_id: str, attempt: int) -> None:
        self._folder, self._attempt = home.attempt(run_id, attempt), attempt
        self.read_all = self.read_out = False

    def read(self, offsets: dict[str, int]) -> list[Piece | Gap]:
        """Read a piece of every stream."""
        found: list[Piece | Gap] = []
        for stream, offset in offsets.items():
            chunk = output.read(self._folder, stream, offset, PIECE_BYTES)
            if chunk.data:
                found += _joined(stream, self._attempt, offset, chunk.offset, chunk.data)
                offsets[stream] = chunk.next_offset
        # Whether more can come is the ledger's word, and it was asked before the disk was read.
        self.read_all = self.read_out = not found
        return found


class _Post:
    """Has the output sent through the ledger by the agent of the node that has it."""

    def __init__(self, ledger: Ledger, run_id: str, attempt: int, clock: Callable[[], float]) -> None:
        self.read_all = self.read_out = False
        self.heard_at = clock()
        self._outputs = Outputs(ledger.scripts)
        self._run, self._attempt, self._clock = run_id, attempt, clock
        self._reader = ""
        self._told: dict[str, int] = {}
        self._told_at = self._began_at = self.heard_at

    def read(self, offsets: dict[str, int]) -> list[Piece | Gap]:
        """Say what is wanted, and open what came."""
        now = self._clock()
        self._ask(offsets, now)
        found: list[Piece | Gap] = []
        for parcel in self._outputs.take(self._run, self._reader):
            if parcel.attempt == self._attempt:
                self.heard_at = now
                found += self._open(parcel, offsets)
        return found

    def leave(self) -> None:
        """Ask no more."""
        if self._reader:
            self._outputs.leave(self._run, self._reader)
            self._reader = ""

    def _ask(self, offsets: dict[str, int], now: float) -> None:
        if not self._reader or now - max(self.heard_at, self._began_at) > BOX_EMPTY_S:
            self._take_another_box(now)
        if self._told != offsets or now - self._told_at >= ASK_EVERY_S:
            self._outputs.ask(Wish(self._run, self._reader, self._attempt, offsets))
            self._told, self._told_at = dict(offsets), now

    def _take_another_box(self, now: float) -> None:
        self.leave()
        self._reader, self._told, self._began_at = uuid4().hex[:12], {}, now

    def _open(self, parcel: Parcel, offsets: dict[str, int]) -> list[Piece | Gap]:
        is_mark = parcel.stream == MARK
        self.read_all, self.read_out = is_mark, is_mark and parcel.over
        here = offsets.get(parcel.stream)
        end = parcel.offset + len(parcel.data)
        if here is None or end <= here:
            return []
        if parcel.after > here:  # one before it got lost
            self._reader = ""
            return []
        begin = max(parcel.offset, here)
        offsets[parcel.stream] = end
        return _joined(parcel.stream, self._attempt, here, begin, parcel.data[begin - parcel.offset :])


class Follower:
    """Somebody reading a run along. `turn` looks once and never waits for output; `over` says that all was read.

    `attempt` None: the newest. `onwards`: go on to the next attempts, until the run is final (without it only this
    attempt is read). `until_final` False: read what is there now, and that is all.
    """

    def __init__(
        self,
        home: Home,
        ledger: Ledger,
        run_id: str,
        *,
        attempt: int | None = None,
        onwards: bool | None = None,
        streams: Sequence[str] = STREAMS,
        until_final: bool = True,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.over = False
        self.reached = True  # the ledger answered at the last turn
        self._home, self._ledger, self._run, self._clock = home, ledger, run_id, clock
        self._attempt = attempt or 0
        self._onwards = attempt is None if onwards is None else onwards
        self._streams, self._until_final = tuple(streams), until_final
        self._carrier: _Carrier | None = None
        self._offsets: dict[str, int] = {}
        self._attempt_read = False
        self._waits_since: float | None = None
        self._left_out: list[Piece | Gap] = []

    def turn(self) -> list[Piece | Gap]:
        """Return what is new.

        Raises UnknownRun, BadInput (no such attempt), FleetUnreachable (nothing is lost by trying again; what this
        node has on its disk is returned all the same).
        """
        try:
            state, newest = self._look()
            self.reached = True
        except FleetUnreachable:
            self.reached = False
            found = self._carrier.read(self._offsets) if isinstance(self._carrier, _Disk) else []
            if found:
                return found
            raise
        if self._attempt > newest and not self._onwards:
            raise BadInput(f"run {self._run} has no attempt {self._attempt} (yet); it had {newest}")
        self._attempt = self._attempt or newest
        if newest == 0 or self._attempt > newest:
            self.over = is_final(state) or not self._until_final
            return []
        return self._read(state, newest)

    def use(self, ledger: Ledger) -> None:
        """Go on with another connection (the embedded Redis may have moved to another port)."""
        self._ledger = ledger
        if isinstance(self._carrier, _Post):
            self._carrier = None

    def close(self) -> None:
        """Stop asking."""
        if isinstance(self._carrier, _Post):
            self._carrier.leave()

    def _look(self) -> tuple[str, int]:
        self._ledger.answers()
        state, newest = self._ledger.runs.peek(self._run)
        if state is None:
            raise UnknownRun(f"no run has the id {self._run!r}; see `infra runs`")
        return state, newest

    def _read(self, state: str, newest: int) -> list[Piece | Gap]:
        ended = newest > self._attempt or state not in (State.STARTED, State.SYNCING)
        if not (ended and self._attempt_read):
            carrier = self._carry(ended=ended)
            found = carrier.read(self._offsets) if carrier else []
            self._attempt_read = not found and self._is_all(carrier, ended=ended)
            if not self._attempt_read:
                return found
        left_out, self._left_out = self._left_out, []
        self._go_on(state, newest, ended=ended)
        return left_out

    def _is_all(self, carrier: _Carrier | None, *, ended: bool) -> bool:
        """Say whether the attempt has been read as far as it is wanted; give up on a node that keeps silent."""
        if self._until_final and not ended:
            self._waits_since = None
            return False
        if carrier is None or (carrier.read_out if ended else carrier.read_all):
            return True
        now = self._clock()
        self._waits_since = now if self._waits_since is None else self._waits_since
        if not isinstance(carrier, _Post) or now - max(carrier.heard_at, self._waits_since) < NODE_SILENT_S:
            return False
        self._left_out = [Gap(stream, self._attempt, offset, None) for stream, offset in self._offsets.items()]
        return True

    def _go_on(self, state: str, newest: int, *, ended: bool) -> None:
        """Leave an attempt that was read to its end: for the next one, to wait for the next one, or for good."""
        if self._onwards and newest > self._attempt:
            self.close()
            self._attempt, self._carrier, self._offsets = self._attempt + 1, None, {}
            self._attempt_read, self._waits_since = False, None
        elif not self._onwards or not self._until_final or (ended and is_final(state)):
            self.close()
            self.over = True

    def _carry(self, *, ended: bool) -> _Carrier | None:
        """Return who brings the output; None: this node had the attempt and keeps nothing of it."""
        self._offsets = self._offsets or dict.fromkeys(self._streams, 0)
        if not isinstance(self._carrier, _Disk) and self._is_here():
            self.close()
            self._carrier = _Disk(self._home, self._run, self._attempt)
        if self._carrier is None:
            if ended and self._was_here():
                return None
            self._carrier = _Post(self._ledger, self._run, self._attempt, self._clock)
        return self._carrier

    def _is_here(self) -> bool:
        """Say whether this node has the attempt: the record is written after the claim."""
        return (self._home.attempt(self._run, self._attempt) / "record.json").exists()

    def _was_here(self) -> bool:
        run = self._ledger.runs.get(self._run)
        if run is None or run.attempt != self._attempt:
            return False
        return not run.claim_node or run.claim_node == _own_name(self._home)


def follow(
    home: Home,
    ledger: Ledger,
    run_id: str,
    *,
    attempt: int | None = None,
    streams: Sequence[str] = STREAMS,
    until_final: bool = True,
    pause: Callable[[float], object] = time.sleep,
) -> Iterator[Piece | Gap]:
    """Yield output of a run as it comes: of one attempt, or of the newest and all that follow it.

    Ends when the run is final and all is read, with `until_final` False when all that is there now is read.
    Raises what `Follower.turn` raises.
    """
    follower = Follower(home, ledger, run_id, attempt=attempt, streams=streams, until_final=until_final)
    quiet_turns = 0
    try:
        while not follower.over:
            found = follower.turn()
            yield from found
            quiet_turns = 0 if found else quiet_turns + 1
            if not found and not follower.over:
                pause(pause_s(quiet_turns))
    finally:
        follower.close()


def pause_s(quiet_turns: int) -> float:
    """Return how long to wait after so many turns without output."""
    return float(min(FIRST_PAUSE_S * 1.3**quiet_turns, LONGEST_PAUSE_S))


def _joined(stream: str, attempt: int, here: int, begin: int, data: bytes) -> list[Piece | Gap]:
    """Return data that begins at `begin` to somebody who has read up to `here`."""
    piece = Piece(stream, attempt, begin, data)
    return [Gap(stream, attempt, here, begin), piece] if begin > here else [piece]


def _own_name(home: Home) -> str | None:
    try:
        return str(json.loads(home.node_json.read_bytes())["name"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
