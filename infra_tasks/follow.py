"""Reads the output of a run along: from this node's disk, or by way of the ledger from the node that has it."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

from infra_tasks.carry import Disk, Gap, Piece, Place, Post
from infra_tasks.errors import BadInput, FleetUnreachable, UnknownRun
from infra_tasks.model.begin import Begin
from infra_tasks.model.run import State, is_final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from infra_tasks.carry import Carrier
    from infra_tasks.ledger import Ledger
    from infra_tasks.ledger.records import Run
    from infra_tasks.settings import Home

__all__ = ["Follower", "Gap", "Piece", "follow"]

STREAMS = ("stdout", "stderr")
FIRST_PAUSE_S = 0.02
LONGEST_PAUSE_S = 0.2
# How long the node may keep silent about output that must be there.
NODE_SILENT_S = 10.0


class Follower:
    """Somebody reading a run along. `turn` looks once and never waits for output; `over` says that all was read.

    `attempt` None: the newest. `onwards`: go on to the next attempts, until the run is final (without it only this
    attempt is read). `until_final` False: read what is there now, and that is all.

    `tail`: of each stream only the last so many lines, and what comes then; of the first attempt that is read, if it
    was there at the first look: what comes later is read whole. `since`: only what was written after this moment (wall
    seconds by the clock of the node that ran it; up to a second's output from before comes with it).
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
        tail: int | None = None,
        since: float | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Raises BadInput for a `tail` or `since` that is none."""
        self.over = False
        self.reached = True  # the ledger answered at the last turn
        self._home, self._ledger, self._run, self._clock = home, ledger, run_id, clock
        self._attempt = attempt or 0
        self._onwards = attempt is None if onwards is None else onwards
        self._streams, self._until_final = tuple(streams), until_final
        self._begin = Begin(tail, since)
        self._there_at_first: int | None = None  # attempts at the first look
        self._carrier: Carrier | None = None
        self._place: Place | None = None
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
            found = self._carrier.read(self._place) if isinstance(self._carrier, Disk) and self._place else []
            if found:
                return found
            raise
        if self._attempt > newest and not self._onwards:
            raise BadInput(f"run {self._run} has no attempt {self._attempt} (yet); it had {newest}")
        self._attempt = self._attempt or newest
        self._there_at_first = newest if self._there_at_first is None else self._there_at_first
        if newest == 0 or self._attempt > newest:
            self.over = is_final(state) or not self._until_final
            return []
        return self._read(state, newest)

    def use(self, ledger: Ledger) -> None:
        """Go on with another connection (the embedded Redis may have moved to another port)."""
        self._ledger = ledger
        if isinstance(self._carrier, Post):
            self._carrier = None

    def close(self) -> None:
        """Stop asking."""
        if isinstance(self._carrier, Post):
            self._carrier.leave(self._place)

    def _look(self) -> tuple[str, int]:
        self._ledger.answers()
        state, newest = self._ledger.runs.peek(self._run)
        if state is None:
            raise UnknownRun(f"no run has the id {self._run!r}; see `infra runs`")
        return state, newest

    def _read(self, state: str, newest: int) -> list[Piece | Gap]:
        ended = newest > self._attempt or state not in (State.STARTED, State.SYNCING)
        if not (ended and self._attempt_read):
            self._place = place = self._place or self._place_in(self._attempt)
            carrier = self._carry(ended=ended)
            found = carrier.read(place) if carrier else []
            self._attempt_read = not found and self._is_all(carrier, place, ended=ended)
            if not self._attempt_read:
                return found
        self._go_on(state, newest, ended=ended)
        left_out, self._left_out = self._left_out, []
        return left_out

    def _place_in(self, attempt: int) -> Place:
        """Return where this attempt is begun: one that nobody had begun when we first looked, at its very beginning."""
        begin, self._begin = self._begin, Begin(since=self._begin.since)
        is_later = attempt > (self._there_at_first or 0)
        return Place(attempt, dict.fromkeys(self._streams, 0), None if is_later or begin.anywhere else begin)

    def _is_all(self, carrier: Carrier | None, place: Place, *, ended: bool) -> bool:
        """Say whether the attempt has been read as far as it is wanted; give up on a node that keeps silent."""
        if self._until_final and not ended:
            self._waits_since = None
            return False
        if carrier is None or (carrier.read_out if ended else carrier.read_all):
            return True
        now = self._clock()
        self._waits_since = now if self._waits_since is None else self._waits_since
        if not isinstance(carrier, Post) or now - max(carrier.heard_at, self._waits_since) < NODE_SILENT_S:
            return False
        self._left_out = [Gap(stream, self._attempt, offset, None) for stream, offset in place.offsets.items()]
        return True

    def _go_on(self, state: str, newest: int, *, ended: bool) -> None:
        """Leave an attempt that was read to its end: for the next one, to wait for the next one, or for good."""
        if self._onwards and newest > self._attempt:
            self.close()
            self._attempt, self._carrier, self._place = self._attempt + 1, None, None
            self._attempt_read, self._waits_since = False, None
        elif not self._onwards or not self._until_final or (ended and is_final(state)):
            self.close()
            self.over = True

    def _carry(self, *, ended: bool) -> Carrier | None:
        """Return who brings the output; None: this node had the attempt and keeps nothing of it."""
        if not isinstance(self._carrier, Disk) and self._is_here():
            self.close()
            self._carrier = Disk(self._home, self._run, self._attempt)
        if self._carrier is None:
            if ended and self._was_here():
                return None
            self._carrier = Post(self._ledger, self._run, self._clock)
        return self._carrier

    def _is_here(self) -> bool:
        """Say whether this node has the attempt: the record is written after the claim."""
        return (self._home.attempt(self._run, self._attempt) / "record.json").exists()

    def _was_here(self) -> bool:
        run = self._ledger.runs.get(self._run)
        if run is None or run.attempt != self._attempt:
            return False
        return not run.claim_node or run.claim_node == _own_name(self._home)


class PastFollower(Follower):
    """Reads what the disk of this node still has of a run that has left the history."""

    def __init__(self, home: Home, ledger: Ledger, run: Run, **options: Any) -> None:
        """`options` are those of `Follower`."""
        super().__init__(home, ledger, run.id, **options)
        self._past = run

    def _look(self) -> tuple[str, int]:
        return self._past.state, self._past.attempt

    def _was_here(self) -> bool:
        return True


def follow(
    home: Home,
    ledger: Ledger,
    run_id: str,
    *,
    attempt: int | None = None,
    streams: Sequence[str] = STREAMS,
    until_final: bool = True,
    tail: int | None = None,
    since: float | None = None,
    pause: Callable[[float], object] = time.sleep,
) -> Iterator[Piece | Gap]:
    """Yield output of a run as it comes: of one attempt, or of the newest and all that follow it.

    Ends when the run is final and all is read, with `until_final` False when all that is there now is read. `tail`
    (lines) and `since` (wall seconds) as `Follower` takes them. Raises what `Follower` and its `turn` raise.
    """
    follower = Follower(
        home,
        ledger,
        run_id,
        attempt=attempt,
        streams=streams,
        until_final=until_final,
        tail=tail,
        since=since,
    )
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


def _own_name(home: Home) -> str | None:
    try:
        return str(json.loads(home.node_json.read_bytes())["name"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
